-- A leader's heartbeat: it writes again what a Redis that lost its contents must know.
-- KEYS: leader, fence, run, checkpoints. ARGV: holder, fence, address, lease in ms, run record or '', then step and entry of
-- each checkpoint. Out: '' if the lease is its own, else the token that supersedes it.
local mine = tonumber(ARGV[2])
local highest = tonumber(redis.call('GET', KEYS[2]) or '0')
local holder = redis.call('HGET', KEYS[1], 'holder')
local rival = 0
if holder and holder ~= ARGV[1] then rival = tonumber(redis.call('HGET', KEYS[1], 'fence')) end
if highest > mine or rival >= mine then return string.format('%.0f', math.max(highest, rival)) end
redis.call('SET', KEYS[2], ARGV[2])
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'fence', ARGV[2], 'address', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
if ARGV[5] ~= '' then redis.call('SET', KEYS[3], ARGV[5]) end
for i = 6, #ARGV, 2 do redis.call('HSETNX', KEYS[4], ARGV[i], ARGV[i + 1]) end
return ''
