-- Count users with a connection. After alive.lua.
-- KEYS  K+1: online
-- Reply the number; -1 if a process is dead
return all_alive and redis.call('SCARD', KEYS[K + 1]) or -1
