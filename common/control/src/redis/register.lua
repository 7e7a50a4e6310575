-- A shard's heartbeat. KEYS: shards, shard:UID. ARGV: uid, address, lease in ms.
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return ''
