-- One node's part in a group of shared subscriptions; gives who else has one, and whose the shards are.
--
-- KEYS  the group: a hash of "NODE" to "START STATE", and of "#SHARD" to "NODE/START PLACE".
-- ARGV  the node; its start; its state: "seated", "held", empty: it has no session of the group any
--       more; after how long the group may go (ms); then of each shard that changes: its number, who
--       has it (empty: nobody yet), who is to have it (empty: still nobody), its place (empty: as it was).
-- Gives fields and values by turns.
--
-- A shard changes only if it still is whose the caller thinks it is. While it is nobody's its place is the
-- least that was named: nodes where the group begins at the same time each say where; 0 is what a journal
-- says that knows nothing of the shard.
local group = KEYS[1]
local node = ARGV[1]

for i = 5, #ARGV, 4 do
	local field = '#' .. ARGV[i]
	local was = redis.call('HGET', group, field) or ' '
	local space = string.find(was, ' ', 1, true)
	local run = string.sub(was, 1, space - 1)
	local place = string.sub(was, space + 1)
	local said = ARGV[i + 3]
	if run == ARGV[i + 1] then
		if said ~= '' and (run ~= '' or place == '' or said < place) then
			place = said
		end
		if place == '' then
			place = '0000000000000000'
		end
		redis.call('HSET', group, field, ARGV[i + 2] .. ' ' .. place)
	end
end
if ARGV[3] == '' then
	local was = redis.call('HGET', group, node)
	if was and string.sub(was, 1, #ARGV[2] + 1) == ARGV[2] .. ' ' then
		redis.call('HDEL', group, node)
	end
	for _, field in ipairs(redis.call('HKEYS', group)) do
		if string.sub(field, 1, 1) ~= '#' then
			return {}
		end
	end
	redis.call('PEXPIRE', group, ARGV[4])
	return {}
end
redis.call('HSET', group, node, ARGV[2] .. ' ' .. ARGV[3])
redis.call('PEXPIRE', group, ARGV[4])
return redis.call('HGETALL', group)
