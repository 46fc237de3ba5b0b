-- Take a lease, and mark the leases of peers, so that processes watch each other. After alive.lua.
-- KEYS  K+1: the lease
-- ARGV  A+1: the process; A+2: ms
-- Reply 1 if it has peers
local peers = 0
for i = 2, K do
  if ARGV[i] ~= ARGV[A + 1] and redis.call('SET', KEYS[i], 'peers', 'XX', 'KEEPTTL') then
    peers = 1
  end
end
redis.call('SADD', KEYS[1], ARGV[A + 1])
redis.call('SET', KEYS[K + 1], peers == 1 and 'peers' or 'alone', 'PX', ARGV[A + 2])
return peers
