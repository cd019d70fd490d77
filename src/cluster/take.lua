-- A session is taken by the caller, whoever had it.
--
-- KEYS  the session.
-- ARGV  the caller, "NODE/START".
-- Gives {owner number from now on, who had it, its row, who wrote that}; empty texts: nobody, none.
local owner = redis.call('HINCRBY', KEYS[1], 'owner', 1)
local was = redis.call('HMGET', KEYS[1], 'run', 'row', 'by')

redis.call('HSET', KEYS[1], 'run', ARGV[1])
redis.call('PERSIST', KEYS[1])
return {owner, was[1] or '', was[2] or '', was[3] or ''}
