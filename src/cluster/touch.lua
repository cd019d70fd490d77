-- The client of a session that may go is still connected.
--
-- KEYS  the session.
-- ARGV  the caller, "NODE/START"; how long who has it may stay from now on (ms), unless put.lua said
--       otherwise ("keep").
local was = redis.call('HMGET', KEYS[1], 'run', 'keep')
if was[1] == ARGV[1] and redis.call('PTTL', KEYS[1]) > 0 then
	return redis.call('PEXPIRE', KEYS[1], was[2] or ARGV[2])
end
return 0
