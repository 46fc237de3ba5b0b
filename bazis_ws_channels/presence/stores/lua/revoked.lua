-- Check users' tokens: whether each is void. After clock.lua and revocation.lua.
-- KEYS  the user's revocation, the token's, ...
-- ARGV  issued us or '', jti or '', age us or '', ...
-- Reply {1 if void, ...}
local reply = {}
for i = 1, #KEYS / 2 do
  local issued, jti, age = ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i]
  reply[i] = is_void(KEYS[2 * i - 1], KEYS[2 * i], issued, jti, age, now) and 1 or 0
end
return reply
