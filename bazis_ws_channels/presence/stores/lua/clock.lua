-- Read the clock. Prepended to every script that needs to know the time.
-- Leaves: now (us), us() (a number as text: Lua prints large ones with an exponent).
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function us(number) return string.format('%.0f', number) end
