-- Check whether a token is void. Prepended to the scripts that need to know.
-- is_void(revoked key, token key, issued us or '', jti or '', age us or '', now us)
local function is_void(revoked, token, issued, jti, age, now)
  local known = redis.call('HMGET', revoked, 'before', 'at')
  if known[1] then
    if age ~= '' then
      if known[2] and tonumber(known[2]) > now - tonumber(age) then return true end
    elseif issued == '' or tonumber(issued) < tonumber(known[1]) then
      return true
    end
  end
  return jti ~= '' and redis.call('EXISTS', token) == 1
end
