-- The shards with a live lease. KEYS: shards. ARGV: what stands before the uid in a shard's key. Out: uid, address, uid, ...
local out = {}
for _, uid in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local address = redis.call('GET', ARGV[1] .. uid)
  if address then
    out[#out + 1] = uid
    out[#out + 1] = address
  else
    redis.call('SREM', KEYS[1], uid)
  end
end
return out
