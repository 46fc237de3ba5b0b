-- Write that a connection is open. After clock.lua, revocation.lua, alive.lua and edges.lua.
-- KEYS  K+1: the user's session; K+2: the process's records; K+3: online; K+4: leaving;
--       K+5: last seen; K+6: the user's revocation; K+7: the token's
-- ARGV  A+1: connection; A+2: user key; A+3: limit; A+4: issued us or ''; A+5: jti or '';
--       A+6: age us or ''
-- Reply {'ok' | 'lost' | 'revoked' | 'too_many', {edges}}
local session, records = KEYS[K + 1], KEYS[K + 2]
local connection, key, limit = ARGV[A + 1], ARGV[A + 2], tonumber(ARGV[A + 3])
if not alive[process] then return {'lost', {}} end
if is_void(KEYS[K + 6], KEYS[K + 7], ARGV[A + 4], ARGV[A + 5], ARGV[A + 6], now) then
  return {'revoked', {}}
end
if redis.call('HGET', session, connection) == process then return {'ok', {}} end
if live(session) >= limit then return {'too_many', {}} end
redis.call('HSET', session, connection, process)
redis.call('HSET', records, connection, key)
redis.call('ZADD', KEYS[K + 5], us(now), key)
local added = redis.call('SADD', KEYS[K + 3], key) == 1
local back = redis.call('ZREM', KEYS[K + 4], key) == 1
if added and not back then change(key, 1) end
return {'ok', edges}
