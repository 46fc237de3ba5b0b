-- Write that connections are gone. After clock.lua.
-- KEYS  1: the process's records; 2: online; 3: leaving; 4: last seen; 5: buried; then the
--       session of each connection's user
-- ARGV  1: the process; 2: grace us; 3: us that last-seen times are kept; 4: the lost process
--       or ''; then connection, user key, ...
-- Reply 1 if anybody's last connection went
-- Redis may have lost these records. Their end must still be announced, unless a peer has buried
-- the process that held them and so announced it.
local process, grace, keep, lost = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local left = 0
local forgotten = lost ~= '' and redis.call('SISMEMBER', KEYS[5], lost) == 0
for i = 5, #ARGV, 2 do
  local connection, key, session = ARGV[i], ARGV[i + 1], KEYS[6 + (i - 5) / 2]
  local removed = 0
  if redis.call('HGET', session, connection) == process then
    removed = redis.call('HDEL', session, connection)
  end
  redis.call('HDEL', KEYS[1], connection)
  if removed == 1 or forgotten then redis.call('ZADD', KEYS[4], us(now), key) end
  local is_last = redis.call('EXISTS', session) == 0
  -- A session may have been evicted a moment ago: whoever still counts as online then goes too.
  local counted = is_last and redis.call('SREM', KEYS[2], key) == 1
  if is_last and (removed == 1 or forgotten or counted) then
    redis.call('ZADD', KEYS[3], us(now + grace), key)
    left = 1
  end
end
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', us(now - keep))
return left
