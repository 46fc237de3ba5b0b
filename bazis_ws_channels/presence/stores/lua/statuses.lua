-- Read users' connections and last-seen times. After clock.lua and alive.lua.
-- KEYS  K+1: last seen; then each user's session
-- ARGV  user keys
-- Reply {now us, live connections, last seen us or '', ...}
local reply = {us(now)}
for i = A + 1, #ARGV do
  reply[#reply + 1] = live(KEYS[K + 1 + i - A])
  reply[#reply + 1] = redis.call('ZSCORE', KEYS[K + 1], ARGV[i]) or ''
end
return reply
