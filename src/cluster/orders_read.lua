-- KEYS  the hash of orders. ARGV  the number up to which they are known.
-- Gives all fields as HGETALL does, nothing when there is no newer one.
local number = redis.call('HGET', KEYS[1], '') or '0'

if number == ARGV[1] then
	return false
end
return redis.call('HGETALL', KEYS[1])
