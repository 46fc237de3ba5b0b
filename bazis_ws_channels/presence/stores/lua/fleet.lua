-- Look at processes.
-- KEYS  lease and records of each
-- Reply for each: whether it is alive, number of its connections
local reply = {}
for i = 1, #KEYS, 2 do
  reply[i] = redis.call('EXISTS', KEYS[i])
  reply[i + 1] = redis.call('HLEN', KEYS[i + 1])
end
return reply
