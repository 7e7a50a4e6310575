-- A campaign's bid. KEYS: leader, fence. ARGV: holder, address, lease in ms, floor, settled (1 or 0).
-- Out: {'won', fence, 0}, {'held', highest token, ms until free} or {'blank', '0', 0}.
local holder = redis.call('HGET', KEYS[1], 'holder')
if holder == ARGV[1] then
  -- An earlier bid of the same campaign, whose answer was lost.
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return {'won', redis.call('HGET', KEYS[1], 'fence'), 0}
end
local highest = redis.call('GET', KEYS[2])
if holder then
  local theirs = redis.call('HGET', KEYS[1], 'fence')
  if highest and tonumber(highest) > tonumber(theirs) then theirs = highest end
  return {'held', theirs, redis.call('PTTL', KEYS[1])}
end
-- A store that knows less than the bidder has lost something.
local known, floor = tonumber(highest or '0'), tonumber(ARGV[4])
if known < floor and ARGV[5] ~= '1' then return {'blank', '0', 0} end
-- The server's clock, in microseconds, lies above the tokens of a counter that was lost. In ms, two claims around a
-- FLUSHALL have met.
local now = redis.call('TIME')
local us = tonumber(now[1]) * 1000000 + tonumber(now[2])
local fence = string.format('%.0f', math.max(known + 1, floor + 1, us))
redis.call('SET', KEYS[2], fence)
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'fence', fence, 'address', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {'won', fence, 0}
