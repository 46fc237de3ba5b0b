-- List users with a connection. After alive.lua.
-- KEYS  K+1: online
-- Reply {1 if all processes are alive, {user keys}}
return {all_alive and 1 or 0, redis.call('SMEMBERS', KEYS[K + 1])}
