-- Remove connections of a dead process, and the process itself when none is left.
-- After clock.lua, alive.lua and edges.lua.
-- KEYS  K+1: the dead process's records; K+2: buried; K+3: online; K+4: last seen; K+5: leaving;
--       then the session of each connection's user
-- ARGV  A+1: the dead process; A+2: grace us; A+3: us that it has been dead, at least; then
--       connection, user key, ...
-- Reply {edges}
local dead, grace, died = ARGV[A + 1], tonumber(ARGV[A + 2]), now - tonumber(ARGV[A + 3])
if alive[dead] or not alive[process] then return edges end
redis.call('SADD', KEYS[K + 2], dead)
redis.call('EXPIRE', KEYS[K + 2], 3600)
local function leave(key)
  -- The user may have had a session on a living process after that, which has just ended.
  local ended = math.min(math.max(tonumber(redis.call('ZSCORE', KEYS[K + 4], key) or 0), died), now)
  redis.call('ZADD', KEYS[K + 4], us(now), key)
  if ended + grace <= now then return change(key, 0) end
  redis.call('ZADD', KEYS[K + 5], us(ended + grace), key)
end
for i = A + 4, #ARGV, 2 do
  local connection, key, session = ARGV[i], ARGV[i + 1], KEYS[K + 6 + (i - A - 4) / 2]
  redis.call('HDEL', KEYS[K + 1], connection)
  if redis.call('HGET', session, connection) == dead then
    redis.call('HDEL', session, connection)
    if redis.call('EXISTS', session) == 0 and redis.call('SREM', KEYS[K + 3], key) == 1 then
      leave(key)
    end
  end
end
if redis.call('EXISTS', KEYS[K + 1]) == 0 then redis.call('SREM', KEYS[1], dead) end
return edges
