-- A shard that leaves; not one that has returned elsewhere since. KEYS: shards, shard:UID. ARGV: uid, address.
if redis.call('GET', KEYS[2]) == ARGV[2] then
  redis.call('DEL', KEYS[2])
  redis.call('SREM', KEYS[1], ARGV[1])
end
return ''
