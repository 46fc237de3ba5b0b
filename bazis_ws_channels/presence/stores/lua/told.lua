-- Note that changes were told.
-- KEYS  1: the hash of changes
-- ARGV  1: the process; then user key, seq, ...
-- Reply {edges that came meanwhile}, flat
local edges = {}
for i = 2, #ARGV, 2 do
  local key = ARGV[i]
  local entry = redis.call('HGET', KEYS[1], key)
  local seq, owner, rest
  if entry then
    seq, owner, rest = string.match(entry, '^(%d+)|%d|%d+|%d+|([^|]+)|?(.*)$')
  end
  if seq == ARGV[i + 1] and owner == ARGV[1] then
    if rest == '' then
      redis.call('HDEL', KEYS[1], key)
    else
      redis.call('HSET', KEYS[1], key, rest .. '|' .. owner)
      edges[#edges + 1] = key
      for part in string.gmatch(rest, '%d+') do edges[#edges + 1] = part end
    end
  end
end
return edges
