-- Tells all nodes of an operator's order.
--
-- KEYS  the hash of orders, its field "" counts them.
-- ARGV  field: what it is about, a later order takes the place of the one before; empty: for whoever
--       is there now; the run that tells it; the order; how many of the latter are kept; how many
--       fields there may be.
-- Gives its number, 0: there is no room.
local field = ARGV[1]

if redis.call('HEXISTS', KEYS[1], field) == 0 and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then
	return 0
end
local number = redis.call('HINCRBY', KEYS[1], '', 1)
if field == '' then
	field = '~' .. (number % tonumber(ARGV[4]))
end
redis.call('HSET', KEYS[1], field, number .. ' ' .. ARGV[2] .. ' ' .. ARGV[3])
return number
