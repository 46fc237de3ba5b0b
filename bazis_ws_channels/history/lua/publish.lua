-- Publish messages; where somebody holds a position of a message's stream, append it there first.
-- KEYS  of each message: its stream's meta; its stream's messages; its idempotency key, if they
--       have one
-- ARGV  1: PUBLISH or SPUBLISH; 2: mark; 3: seconds to keep messages, 0: don't record; 4: messages
--       kept; 5: bytes kept; 6: seconds to keep the meta; 7: seconds to keep the idempotency key;
--       then of each message: channel; serialized event
-- Reply of each message: its offset; 0: it was not recorded; -1: its idempotency key was used before
local verb, mark, seconds = ARGV[1], ARGV[2], ARGV[3]
local most, most_bytes = tonumber(ARGV[4]), tonumber(ARGV[5])
local messages = (#ARGV - 7) / 2
local keys = #KEYS / messages

local function record(meta, log, event)
  if seconds == '0' then return 0, event end
  local known = redis.call('HMGET', meta, 'offset', 'mark', 'bytes')
  if not known[1] then return 0, event end
  local offset = string.format('%.0f', known[1] + 1)
  local entry = '\193' .. offset .. ' ' .. mark .. ' ' .. known[2] .. '\n' .. event
  local count = redis.pcall('RPUSH', log, entry)
  if type(count) == 'table' then
    if not string.find(count.err, 'OOM', 1, true) then return nil, count end
    -- Out of memory: deliver it all the same; all positions are void, and their holders told so.
    redis.call('DEL', meta, log)
    return 0, event
  end
  local bytes = #entry + (count > 1 and tonumber(known[3]) or 0)
  while count > 0 and (count > most or bytes > most_bytes) do
    bytes = bytes - #redis.call('LPOP', log)
    count = count - 1
  end
  redis.call('HSET', meta, 'offset', offset, 'mark', mark, 'bytes', bytes)
  redis.call('EXPIRE', log, seconds)
  -- Often enough for 30 days: after each pause that the messages did not outlive, and in between.
  if count == 1 or offset % 64 == 0 then redis.call('EXPIRE', meta, ARGV[6]) end
  return tonumber(offset), entry
end

-- Written before anything is published: a server that refuses it, such as a replica, has then done
-- nothing, and the call may be repeated at another one.
local function claim(once)
  if redis.call('EXISTS', once) == 1 then return false end
  local reply = redis.pcall('SET', once, '', 'EX', ARGV[7])
  if reply.err and not string.find(reply.err, 'OOM', 1, true) then return nil, reply end
  return true
end

local offsets = {}
for i = 1, messages do
  local first, once, is_ours, refused = (i - 1) * keys, nil, true, nil
  if keys == 3 then
    once = KEYS[first + 3]
    is_ours, refused = claim(once)
    if refused then return refused end
  end
  offsets[i] = -1
  if is_ours then
    local offset, message = record(KEYS[first + 1], KEYS[first + 2], ARGV[7 + 2 * i])
    if not offset then
      if once then redis.call('DEL', once) end
      return message
    end
    redis.call(verb, ARGV[6 + 2 * i], message)
    offsets[i] = offset
  end
end
return offsets
