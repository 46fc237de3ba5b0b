-- Void a user's tokens issued before a moment. After clock.lua.
-- KEYS  1: the user's revocation
-- ARGV  1: the moment us, or '' for now; 2: seconds to remember it; 3: 1 to void Django sessions
--       that were looked at before the moment too
-- Reply the moment us
local moment = ARGV[1] == '' and us(now) or ARGV[1]
local function raise(field)
  local known = redis.call('HGET', KEYS[1], field)
  if not known or tonumber(known) < tonumber(moment) then
    redis.call('HSET', KEYS[1], field, moment)
  end
end
raise('before')
if ARGV[3] == '1' then raise('at') end
if redis.call('TTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return moment
