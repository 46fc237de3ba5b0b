-- Forget a process without connections. Buried processes are remembered only while another process
-- is there that could have been one of them.
-- KEYS  1: the set of processes; 2: the lease; 3: the process's records; 4: buried
-- ARGV  1: the process
-- Reply 1
redis.call('DEL', KEYS[2], KEYS[3])
redis.call('SREM', KEYS[1], ARGV[1])
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('DEL', KEYS[4]) end
return 1
