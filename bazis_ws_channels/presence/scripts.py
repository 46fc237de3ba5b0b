"""What presence keeps in Redis, and the Lua that reads and changes it.

Keys, behind ``BAZIS_WS_KEY_PREFIX``:

====================================  ==========================================================
``user_ws.<pk>.session``              hash: connection -> process
``user_ws.process.<process>``         hash: connection -> pk, the same seen from the process
``user_ws.lease.<process>``           string with a TTL: the process is alive; ``peers`` if it
                                      has company, else ``alone``
``user_ws.processes``                 set of processes that are registered and not yet buried
``user_ws.buried``                    set of processes whose users were told offline
``user_ws.online``                    set of pks with a connection record
``user_ws.leaving``                   sorted set of pks without one -> when to tell (us)
``user_ws.last_seen``                 sorted set of pks -> time (us)
``user_ws.<pk>.revoked``              hash: ``before`` (us, by the issuer's clock), ``at`` (us)
``user_ws.jti.<jti>.token``           a revoked token, until it would have expired
====================================  ==========================================================

A lease is a key with a TTL, so that only Redis's clock says who is alive and one plain command
renews it. A user counts as told online while the pk is in ``online`` or ``leaving``: edges are
changes of that, made by whichever script call removed or added the pk, and so by one process.

Times are whole microseconds since the epoch by Redis's clock. Lua prints large numbers with an
exponent, hence ``us()``. The scripts build key names, so all keys must live in one Redis (not
in a Redis Cluster).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

__all__ = ["SCRIPTS", "Script"]

_PRELUDE = """
local prefix = ARGV[1]
local PROCESSES, BURIED = prefix .. 'user_ws.processes', prefix .. 'user_ws.buried'
local ONLINE, LEAVING = prefix .. 'user_ws.online', prefix .. 'user_ws.leaving'
local SEEN = prefix .. 'user_ws.last_seen'
local function lease(process) return prefix .. 'user_ws.lease.' .. process end
local function records(process) return prefix .. 'user_ws.process.' .. process end
local function session(pk) return prefix .. 'user_ws.' .. pk .. '.session' end
local function us(number) return string.format('%.0f', number) end
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
local known = {}
local function alive(process)
  if known[process] == nil then
    known[process] = redis.call('EXISTS', lease(process)) == 1
  end
  return known[process]
end
local function live(pk)
  local count = 0
  for _, process in ipairs(redis.call('HVALS', session(pk))) do
    if alive(process) then count = count + 1 end
  end
  return count
end
local function all_alive()
  for _, process in ipairs(redis.call('SMEMBERS', PROCESSES)) do
    if not alive(process) then return false end
  end
  return true
end
"""

# process, lease_ms -> 1 if it has peers. Peers are told, so that they look after one another.
_REGISTER = """
local process, lease_ms = ARGV[2], ARGV[3]
local peers = 'alone'
for _, other in ipairs(redis.call('SMEMBERS', PROCESSES)) do
  if other ~= process and redis.call('SET', lease(other), 'peers', 'XX', 'KEEPTTL') then
    peers = 'peers'
  end
end
redis.call('SADD', PROCESSES, process)
redis.call('SET', lease(process), peers, 'PX', lease_ms)
return peers
"""

# process, old process, connection, pk, ... -> {now, pks told online...}
# Users whom nobody told offline (Redis lost its memory) come back without a word.
_RESTORE = """
local process, old = ARGV[2], ARGV[3]
local now, edges = clock(), {}
local was_buried = redis.call('SISMEMBER', BURIED, old) == 1
for i = 4, #ARGV, 2 do
  local conn, pk = ARGV[i], ARGV[i + 1]
  redis.call('HSET', session(pk), conn, process)
  redis.call('HSET', records(process), conn, pk)
  local added = redis.call('SADD', ONLINE, pk) == 1
  local back = redis.call('ZREM', LEAVING, pk) == 1
  if added and not back and was_buried then edges[#edges + 1] = pk end
end
return {us(now), edges}
"""

# process, connection, pk, limit, issued_us or '', jti or '', age_us or ''
# -> {verdict, 1 if the user came online, now}
_CONNECT = """
local process, conn, pk, limit = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local issued, jti, age = ARGV[6], ARGV[7], ARGV[8]
local now = clock()
if not alive(process) then return {'lost', 0, us(now)} end
local revoked = redis.call('HMGET', prefix .. 'user_ws.' .. pk .. '.revoked', 'before', 'at')
if revoked[1] then
  local refused
  if age ~= '' then refused = tonumber(revoked[2]) > now - tonumber(age)
  elseif issued ~= '' then refused = tonumber(issued) < tonumber(revoked[1])
  else refused = true end
  if refused then return {'revoked', 0, us(now)} end
end
if jti ~= '' and redis.call('EXISTS', prefix .. 'user_ws.jti.' .. jti .. '.token') == 1 then
  return {'revoked', 0, us(now)}
end
if redis.call('HGET', session(pk), conn) == process then return {'ok', 0, us(now)} end
if live(pk) >= limit then return {'too_many', 0, us(now)} end
redis.call('HSET', session(pk), conn, process)
redis.call('HSET', records(process), conn, pk)
local added = redis.call('SADD', ONLINE, pk) == 1
local back = redis.call('ZREM', LEAVING, pk) == 1
redis.call('ZADD', SEEN, us(now), pk)
return {'ok', (added and not back) and 1 or 0, us(now)}
"""

# process, grace_us, keep_us, lost process or '', connection, pk, ...
# -> 1 if anybody's last connection went
# Of what a lost process held nobody may know any more: it counts as gone, unless a peer has
# buried the process, and so told.
_DISCONNECT = """
local process, grace, keep, lost = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local forgotten = lost ~= '' and redis.call('SISMEMBER', BURIED, lost) == 0
local now, left = clock(), 0
for i = 6, #ARGV, 2 do
  local conn, pk = ARGV[i], ARGV[i + 1]
  local removed = 0
  if redis.call('HGET', session(pk), conn) == process then
    removed = redis.call('HDEL', session(pk), conn)
  end
  redis.call('HDEL', records(process), conn)
  if removed == 1 then redis.call('ZADD', SEEN, us(now), pk) end
  if (removed == 1 or forgotten) and redis.call('EXISTS', session(pk)) == 0 then
    redis.call('SREM', ONLINE, pk)
    redis.call('ZADD', LEAVING, us(now + grace), pk)
    left = 1
  end
end
redis.call('ZREMRANGEBYSCORE', SEEN, '-inf', us(now - keep))
return left
"""

# process, batch, whom it may bury: '*' for all that are dead, one process, or ''
# -> {now, 1 if there is more to do, next due (us) or '', 1 if it has peers,
#     {pk told offline, last seen (us), ...}}
# Burying: take a dead process's connections off, `batch` at a time, then the process itself. It
# counts as buried from the first of them on: whoever is restored meanwhile was told offline.
_SWEEP = """
local process, batch, whom = ARGV[2], tonumber(ARGV[3]), ARGV[4]
local now, more, peers, edges = clock(), 0, 0, {}
local left = batch
local function tell(pk)
  edges[#edges + 1] = pk
  edges[#edges + 1] = redis.call('ZSCORE', SEEN, pk) or us(now)
end
local function take_off(other, conn, pk)
  redis.call('HDEL', records(other), conn)
  if redis.call('HGET', session(pk), conn) ~= other then return end
  redis.call('HDEL', session(pk), conn)
  if redis.call('EXISTS', session(pk)) == 0 and redis.call('SREM', ONLINE, pk) == 1 then
    redis.call('ZADD', SEEN, us(now), pk)
    tell(pk)
  end
end
local function bury(other)
  redis.call('SADD', BURIED, other)
  redis.call('EXPIRE', BURIED, 3600)
  local cursor = '0'
  -- A scan from the start may find nothing in a hash that others have thinned out: go on.
  repeat
    if left <= 0 then more = 1 return end
    local page = redis.call('HSCAN', records(other), cursor, 'COUNT', left)
    cursor = page[1]
    for i = 1, #page[2], 2 do take_off(other, page[2][i], page[2][i + 1]) end
    left = left - #page[2] / 2
  until cursor == '0'
  redis.call('SREM', PROCESSES, other)
end
for _, other in ipairs(redis.call('SMEMBERS', PROCESSES)) do
  if alive(other) then
    if other ~= process then peers = 1 end
  elseif alive(process) and (whom == '*' or whom == other) then bury(other) end
end
local due, next_due = redis.call('ZRANGE', LEAVING, 0, batch, 'WITHSCORES'), ''
for i = 1, #due, 2 do
  if tonumber(due[i + 1]) > now then next_due = due[i + 1] break end
  redis.call('ZREM', LEAVING, due[i])
  tell(due[i])
end
if next_due == '' and #due > 2 * batch then more = 1 end
redis.call('SET', lease(process), peers == 1 and 'peers' or 'alone', 'XX', 'KEEPTTL')
return {us(now), more, next_due, peers, edges}
"""

# process -> 1 when the process is forgotten: it must have no connections. What was buried is
# remembered only while somebody is there whom it could concern.
_RELEASE = """
local process = ARGV[2]
redis.call('DEL', lease(process), records(process))
redis.call('SREM', PROCESSES, process)
if redis.call('EXISTS', PROCESSES) == 0 then redis.call('DEL', BURIED) end
return 1
"""

# pk, ... -> {now, live connections, last seen or '', ...}
_STATUS = """
local reply = {us(clock())}
for i = 2, #ARGV do
  reply[#reply + 1] = live(ARGV[i])
  reply[#reply + 1] = redis.call('ZSCORE', SEEN, ARGV[i]) or ''
end
return reply
"""

# pk, ... -> live connections, ...
_COUNT = """
local reply = {}
for i = 2, #ARGV do reply[i - 1] = live(ARGV[i]) end
return reply
"""

# pk, ... -> {now, 1 if told online, last seen or '', ...}
_TOLD = """
local reply = {us(clock())}
for i = 2, #ARGV do
  local pk = ARGV[i]
  local told = redis.call('SISMEMBER', ONLINE, pk) == 1 or redis.call('ZSCORE', LEAVING, pk)
  reply[#reply + 1] = told and 1 or 0
  reply[#reply + 1] = redis.call('ZSCORE', SEEN, pk) or ''
end
return reply
"""

# -> pks
_ONLINE_USERS = """
local pks = redis.call('SMEMBERS', ONLINE)
if all_alive() then return pks end
local reply = {}
for _, pk in ipairs(pks) do
  if live(pk) > 0 then reply[#reply + 1] = pk end
end
return reply
"""

# -> number
_ONLINE_COUNT = """
if all_alive() then return redis.call('SCARD', ONLINE) end
local count = 0
for _, pk in ipairs(redis.call('SMEMBERS', ONLINE)) do
  if live(pk) > 0 then count = count + 1 end
end
return count
"""

# pk, before_us, ttl_s -> 1
_REVOKE_BEFORE = """
local key = prefix .. 'user_ws.' .. ARGV[2] .. '.revoked'
local before = redis.call('HGET', key, 'before')
if not before or tonumber(before) < tonumber(ARGV[3]) then
  redis.call('HSET', key, 'before', ARGV[3])
end
redis.call('HSET', key, 'at', us(clock()))
if redis.call('TTL', key) < tonumber(ARGV[4]) then redis.call('EXPIRE', key, ARGV[4]) end
return 1
"""

# jti, ttl_s -> 1
_REVOKE_TOKEN = """
redis.call('SET', prefix .. 'user_ws.jti.' .. ARGV[2] .. '.token', '1', 'EX', ARGV[3])
return 1
"""

# pk, issued_us or '', jti or '' -> 1 if revoked
_IS_REVOKED = """
local before = redis.call('HGET', prefix .. 'user_ws.' .. ARGV[2] .. '.revoked', 'before')
if before and (ARGV[3] == '' or tonumber(ARGV[3]) < tonumber(before)) then return 1 end
if ARGV[4] == '' then return 0 end
return redis.call('EXISTS', prefix .. 'user_ws.jti.' .. ARGV[4] .. '.token')
"""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the name Redis caches it under."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", _PRELUDE + self.text)
        sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", sha)


#: Scripts by verb. Every verb takes the key prefix first, then what its comment above says.
SCRIPTS: Final = {
    "register": Script(_REGISTER),
    "restore": Script(_RESTORE),
    "connect": Script(_CONNECT),
    "disconnect": Script(_DISCONNECT),
    "sweep": Script(_SWEEP),
    "release": Script(_RELEASE),
    "status": Script(_STATUS),
    "count": Script(_COUNT),
    "told": Script(_TOLD),
    "online_users": Script(_ONLINE_USERS),
    "online_count": Script(_ONLINE_COUNT),
    "revoke_before": Script(_REVOKE_BEFORE),
    "revoke_token": Script(_REVOKE_TOKEN),
    "is_revoked": Script(_IS_REVOKED),
}
