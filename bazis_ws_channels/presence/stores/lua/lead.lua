-- Become, or stay, the one process of all that tells what is true of all.
-- KEYS  1: leader
-- ARGV  1: process; 2: how long it leads without asking again (ms)
-- Reply 1 if this process leads
local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
