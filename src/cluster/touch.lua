-- The client of a session that may go is still connected.
--
-- KEYS  the session.
-- ARGV  the caller, "NODE/START"; how long it may stay from now on (ms).
if redis.call('HGET', KEYS[1], 'run') == ARGV[1] and redis.call('PTTL', KEYS[1]) > 0 then
	return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
