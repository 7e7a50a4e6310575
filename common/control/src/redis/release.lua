-- Ends a lease early, if it is the caller's. KEYS: leader. ARGV: holder.
if redis.call('HGET', KEYS[1], 'holder') == ARGV[1] then redis.call('DEL', KEYS[1]) end
return ''
