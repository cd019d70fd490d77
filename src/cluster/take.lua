-- A session is taken by the caller, whoever had it; or left to the address it was last connected from.
--
-- KEYS  the session.
-- ARGV  the caller, "NODE/START"; the client's address; "1": not a session of another address.
-- Gives {owner number from now on, 0: it was left; who had it, its row, who wrote that}; empty texts:
-- nobody, none.
local was = redis.call('HMGET', KEYS[1], 'run', 'row', 'by', 'at')

if ARGV[3] == '1' and was[4] and was[4] ~= ARGV[2] then
	return {0, was[1] or '', was[2] or '', ''}
end
local owner = redis.call('HINCRBY', KEYS[1], 'owner', 1)
redis.call('HSET', KEYS[1], 'run', ARGV[1], 'at', ARGV[2])
redis.call('PERSIST', KEYS[1])
return {owner, was[1] or '', was[2] or '', was[3] or ''}
