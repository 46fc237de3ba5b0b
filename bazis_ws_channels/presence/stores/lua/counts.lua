-- Count users' live connections. After alive.lua.
-- KEYS  each user's session
-- Reply {live connections, ...}
local reply = {}
for i = K + 1, #KEYS do reply[#reply + 1] = live(KEYS[i]) end
return reply
