-- One node's beat: it says that it lives, and hears of all.
--
-- KEYS  the hash of the nodes; the hash of the leases.
-- ARGV  its name; its start; its field, empty: it only looks; "1": take the name from another run;
--       then name and field of each node that has been silent for long and is to be forgotten.
-- Gives {names and fields by turns, version of the leases}.
--
-- A name that another run has is left to it.
local nodes = KEYS[1]
local mine = redis.call('HGET', nodes, ARGV[1])

if ARGV[3] ~= '' and (not mine or ARGV[4] == '1' or string.sub(mine, 1, #ARGV[2]) == ARGV[2]) then
	redis.call('HSET', nodes, ARGV[1], ARGV[3])
end
for i = 5, #ARGV, 2 do
	if redis.call('HGET', nodes, ARGV[i]) == ARGV[i + 1] then
		redis.call('HDEL', nodes, ARGV[i])
	end
end
return {redis.call('HGETALL', nodes), tonumber(redis.call('HGET', KEYS[2], '') or 0)}
