-- Write connections again under another process name. After clock.lua, alive.lua and edges.lua.
-- KEYS  K+1: the process's records; K+2: online; K+3: leaving; K+4: buried; then the session of
--       each connection's user
-- ARGV  A+1: the lost process; then connection, user key, ...
-- Reply {edges}
redis.call('SADD', KEYS[1], process)
local was_buried = redis.call('SISMEMBER', KEYS[K + 4], ARGV[A + 1]) == 1
for i = A + 2, #ARGV, 2 do
  local connection, key, session = ARGV[i], ARGV[i + 1], KEYS[K + 5 + (i - A - 2) / 2]
  redis.call('HSET', session, connection, process)
  redis.call('HSET', KEYS[K + 1], connection, key)
  local added = redis.call('SADD', KEYS[K + 2], key) == 1
  local back = redis.call('ZREM', KEYS[K + 3], key) == 1
  if added and not back and was_buried then change(key, 1) end
end
return edges
