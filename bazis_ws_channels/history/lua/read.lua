-- Read the end of a stream, which begins here if nobody held a position of it.
-- KEYS  1: the stream's meta; 2: its messages
-- ARGV  1: offset from which messages are missing, or ''; 2: mark of a new stream;
--       3: seconds to keep the meta
-- Reply {top offset, its mark, {messages since the offset, none if not all are kept}}
local meta, log = KEYS[1], KEYS[2]
local top = redis.call('HMGET', meta, 'offset', 'mark')
local offset, mark = top[1], top[2]
if not offset then
  offset, mark = '0', ARGV[2]
  redis.call('DEL', log)
  redis.call('HSET', meta, 'offset', offset, 'mark', mark, 'bytes', 0)
end
redis.call('EXPIRE', meta, ARGV[3])
local since, messages = tonumber(ARGV[1]), {}
if since and since < tonumber(offset) then
  local gap = string.format('%.0f', tonumber(offset) - since)
  if redis.call('LLEN', log) >= tonumber(gap) then
    messages = redis.call('LRANGE', log, '-' .. gap, -1)
  end
end
return {offset, mark, messages}
