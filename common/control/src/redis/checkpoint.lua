-- Adds a checkpoint. KEYS: fence, checkpoints. ARGV: fence, step, entry, how many to keep.
-- Out: '' if it was added, else the token that supersedes its learner's.
local mine, step = tonumber(ARGV[1]), tonumber(ARGV[2])
local highest = tonumber(redis.call('GET', KEYS[1]) or '0')
if highest > mine then return string.format('%.0f', highest) end
local steps = {}
for _, other in ipairs(redis.call('HKEYS', KEYS[2])) do
  local ok, entry = pcall(cjson.decode, redis.call('HGET', KEYS[2], other))
  -- Later steps of an earlier leader: the run went back before them.
  if not ok or (tonumber(other) > step and entry.fence < mine) then
    redis.call('HDEL', KEYS[2], other)
  elseif tonumber(other) ~= step then
    steps[#steps + 1] = other
  end
end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
steps[#steps + 1] = ARGV[2]
table.sort(steps, function(a, b) return tonumber(a) > tonumber(b) end)
for i = tonumber(ARGV[4]) + 1, #steps do redis.call('HDEL', KEYS[2], steps[i]) end
return ''
