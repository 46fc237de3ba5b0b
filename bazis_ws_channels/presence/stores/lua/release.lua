-- Forget a process without connections. One that has some, which it doesn't know of, has gone: it is
-- to be buried. Buried processes are remembered only while another process is there that could have
-- been one of them.
-- KEYS  1: the set of processes; 2: the lease; 3: the process's records; 4: buried
-- ARGV  1: the process
-- Reply 1
redis.call('DEL', KEYS[2])
if redis.call('EXISTS', KEYS[3]) == 0 then redis.call('SREM', KEYS[1], ARGV[1]) end
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('DEL', KEYS[4]) end
return 1
