-- Read the status that was last told for each user. After clock.lua.
-- KEYS  1: online; 2: leaving; 3: last seen; 4: the number of the last change
-- ARGV  user keys
-- Reply {number of the last change, now us, 1 if told online, last seen us or '', ...}
local reply = {redis.call('GET', KEYS[4]) or '0', us(now)}
for _, key in ipairs(ARGV) do
  local online = redis.call('SISMEMBER', KEYS[1], key) == 1
  reply[#reply + 1] = (online or redis.call('ZSCORE', KEYS[2], key)) and 1 or 0
  reply[#reply + 1] = redis.call('ZSCORE', KEYS[3], key) or ''
end
return reply
