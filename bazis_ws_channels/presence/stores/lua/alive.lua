-- Find the processes that are alive. Prepended to every script that needs to know.
--
-- KEYS  1: the set of processes; then the lease of each process that the caller knows
-- ARGV  1: how many those are; then their names
-- Reply {'stale', {names}} if the caller doesn't know all of them: ask again with these.
--
-- Leaves: alive (name -> boolean), all_alive, live() (a user's live connections, by the session), K
-- and A (where the script's own KEYS and ARGV begin, less 1).
local K = tonumber(ARGV[1]) + 1
local A = K
local alive, all_alive = {}, true
for i = 2, K do alive[ARGV[i]] = false end
local registered = redis.call('SMEMBERS', KEYS[1])
for _, name in ipairs(registered) do
  if alive[name] == nil then return {'stale', registered} end
end
for i = 2, K do alive[ARGV[i]] = redis.call('EXISTS', KEYS[i]) == 1 end
for _, name in ipairs(registered) do all_alive = all_alive and alive[name] end
local function live(session)
  local count = 0
  for _, process in ipairs(redis.call('HVALS', session)) do
    if alive[process] then count = count + 1 end
  end
  return count
end
