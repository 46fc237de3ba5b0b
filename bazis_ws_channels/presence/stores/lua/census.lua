-- Find dead processes, graces that are over, and changes that no live process announces.
-- After clock.lua, alive.lua and edges.lua.
-- KEYS  K+1: the process's lease; K+2: leaving; K+3: last seen
-- ARGV  A+1: ms of the lease, which is renewed; A+2: batch; A+3: 1 to find the process's own
--       changes too
-- Reply {1 if the process has its lease, dead processes, 1 if there are peers, now us, next due us or '', 1 if more, {edges}}
local batch, own = tonumber(ARGV[A + 2]), ARGV[A + 3] == '1'
local dead, peers, more = {}, 0, 0
if not alive[process] then return {0, {}, 0, us(now), '', 0, {}} end
for _, name in ipairs(registered) do
  if not alive[name] then
    dead[#dead + 1] = name
  elseif name ~= process then
    peers = 1
  end
end
local due, next_due = redis.call('ZRANGE', KEYS[K + 2], 0, batch, 'WITHSCORES'), ''
for i = 1, #due, 2 do
  if tonumber(due[i + 1]) > now then next_due = due[i + 1] break end
  if i > 2 * batch then more = 1 break end
  redis.call('ZREM', KEYS[K + 2], due[i])
  change(due[i], 0, redis.call('ZSCORE', KEYS[K + 3], due[i]))
end
if redis.call('HLEN', EDGES) > 0 then
  local cursor = '0'
  repeat
    local page = redis.call('HSCAN', EDGES, cursor, 'COUNT', batch)
    cursor = page[1]
    for i = 1, #page[2], 2 do
      local _, _, _, _, owner = string.match(page[2][i + 1], FIRST)
      if not alive[owner] or (own and owner == process) then
        take_over(page[2][i], page[2][i + 1])
      end
    end
    if #edges > 5 * batch then more = 1 break end
  until cursor == '0'
end
redis.call('SET', KEYS[K + 1], peers == 1 and 'peers' or 'alone', 'XX', 'PX', ARGV[A + 1])
return {alive[process] and 1 or 0, dead, peers, us(now), next_due, more, edges}
