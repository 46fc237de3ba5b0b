-- Record changes of the online status. Prepended, after clock.lua and alive.lua, to every script that makes one.
--
-- KEYS  K+1: the hash of changes that haven't been told; K+2: the number of the last change
-- ARGV  A+1: the process that asks
--
-- A change is an entry `seq|online|at|last_seen|owner` by user key: the owner is the process that
-- tells it, and takes it away when it was told. What changes meanwhile is appended for the owner
-- to tell next: `|seq|online|at|last_seen`; a change back to what is being told takes that away.
-- Leaves: edges (what the caller is to tell, flat), change(), tell(), process.
local EDGES, SEQ = KEYS[K + 1], KEYS[K + 2]
local process = ARGV[A + 1]
local edges = {}
K, A = K + 2, A + 1
local FIRST = '^(%d+)|(%d)|(%d+)|(%d+)|([^|]+)'
local function tell(key, seq, online, at, seen)
  for _, part in ipairs({key, seq, online, at, seen}) do edges[#edges + 1] = part end
end
local function take_over(key, entry)
  local seq, online, at, seen, owner = string.match(entry, FIRST)
  local rest = string.sub(entry, #(seq .. online .. at .. seen .. owner) + 5)
  redis.call('HSET', EDGES, key, table.concat({seq, online, at, seen, process}, '|') .. rest)
  tell(key, seq, online, at, seen)
end
local function change(key, online, seen)
  -- Grows even when the clock goes back; and when the number was lost, it begins at the clock.
  local seq = tonumber(redis.call('GET', SEQ) or '0') + 1
  if seq < now then seq = now end
  seq = us(seq)
  redis.call('SET', SEQ, seq)
  local at = us(now)
  seen = seen and us(tonumber(seen)) or at
  local entry = redis.call('HGET', EDGES, key)
  if not entry then
    redis.call('HSET', EDGES, key, table.concat({seq, online, at, seen, process}, '|'))
    return tell(key, seq, online, at, seen)
  end
  local first, told, first_at, first_seen, owner = string.match(entry, FIRST)
  entry = table.concat({first, told, first_at, first_seen, owner}, '|')
  if told ~= tostring(online) then
    entry = entry .. '|' .. table.concat({seq, online, at, seen}, '|')
  end
  redis.call('HSET', EDGES, key, entry)
  if not alive[owner] then take_over(key, entry) end
end
