-- List users with a connection, some at a time; one may come twice. After alive.lua.
-- KEYS  K+1: online
-- ARGV  A+1: the cursor, 0 at first; A+2: about how many
-- Reply {1 if all processes are alive, the next cursor or 0, {user keys}}
local page = redis.call('SSCAN', KEYS[K + 1], ARGV[A + 1], 'COUNT', ARGV[A + 2])
return {all_alive and 1 or 0, page[1], page[2]}
