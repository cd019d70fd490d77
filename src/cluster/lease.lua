-- Leases change hands, each only if it is still whose the caller thinks it is.
--
-- KEYS  the hash of the leases: "SOURCE/SLOT" to "NODE/START"; its field "" counts the changes.
-- ARGV  lease, holder expected (empty: nobody), holder from now on (empty: nobody), by turns.
-- Gives the holder of each afterwards.
local leases = KEYS[1]
local holders = {}
local changes = 0

for i = 1, #ARGV, 3 do
	local holder = redis.call('HGET', leases, ARGV[i]) or ''
	if holder == ARGV[i + 1] and holder ~= ARGV[i + 2] then
		if ARGV[i + 2] == '' then
			redis.call('HDEL', leases, ARGV[i])
		else
			redis.call('HSET', leases, ARGV[i], ARGV[i + 2])
		end
		holder = ARGV[i + 2]
		changes = changes + 1
	end
	holders[#holders + 1] = holder
end
if changes > 0 then
	redis.call('HINCRBY', leases, '', changes)
end
return holders
