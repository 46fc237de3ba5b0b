-- Publish a message; where somebody holds a position of its stream, append it first.
-- KEYS  1: the stream's meta; 2: its messages; 3: the idempotency key, if there is one
-- ARGV  1: PUBLISH or SPUBLISH; 2: channel; 3: serialized event; 4: mark; 5: seconds to keep
--       messages, 0: don't record; 6: messages kept; 7: bytes kept; 8: seconds to keep the meta;
--       9: seconds to keep the idempotency key
-- Reply the message's offset; 0: it was not recorded; -1: the idempotency key was used before
local meta, log, once = KEYS[1], KEYS[2], KEYS[3]
if once and redis.call('EXISTS', once) == 1 then return -1 end

local function record()
  if ARGV[5] == '0' then return 0, ARGV[3] end
  local known = redis.call('HMGET', meta, 'offset', 'mark', 'bytes')
  if not known[1] then return 0, ARGV[3] end
  local offset = string.format('%.0f', known[1] + 1)
  local entry = '\193' .. offset .. ' ' .. ARGV[4] .. ' ' .. known[2] .. '\n' .. ARGV[3]
  local count = redis.pcall('RPUSH', log, entry)
  if type(count) == 'table' then
    if not string.find(count.err, 'OOM', 1, true) then return nil, count end
    -- Out of memory: deliver it all the same; all positions are void, and their holders told so.
    redis.call('DEL', meta, log)
    return 0, ARGV[3]
  end
  local bytes = #entry + (count > 1 and tonumber(known[3]) or 0)
  while count > 0 and (count > tonumber(ARGV[6]) or bytes > tonumber(ARGV[7])) do
    bytes = bytes - #redis.call('LPOP', log)
    count = count - 1
  end
  redis.call('HSET', meta, 'offset', offset, 'mark', ARGV[4], 'bytes', bytes)
  redis.call('EXPIRE', log, ARGV[5])
  -- Often enough for 30 days: after each pause that the messages did not outlive, and in between.
  if count == 1 or offset % 64 == 0 then redis.call('EXPIRE', meta, ARGV[8]) end
  return tonumber(offset), entry
end

local offset, message = record()
if not offset then return message end
redis.call(ARGV[1], ARGV[2], message)
if once then redis.call('SET', once, '', 'EX', ARGV[9]) end
return offset
