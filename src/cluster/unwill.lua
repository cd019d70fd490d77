-- A client's will is done with, unless the client has another one by now.
--
-- KEYS  the wills of a run.
-- ARGV  the session; the will's identifier, with which its value begins.
local value = redis.call('HGET', KEYS[1], ARGV[1])

if value and string.sub(value, 1, #ARGV[2]) == ARGV[2] then
	return redis.call('HDEL', KEYS[1], ARGV[1])
end
return 0
