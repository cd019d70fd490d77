-- A session's row is written, or the session ended, by who has it; the last row also by who has just
-- lost it to another.
--
-- KEYS  the session.
-- ARGV  the caller's owner number; who he is; the row, empty: it ends; after how long it may go (ms),
--       0: never; "1": the last one.
-- Gives 1, or 0: another has it.
local owner = tonumber(redis.call('HGET', KEYS[1], 'owner') or 0)
local mine = tonumber(ARGV[1])

if ARGV[5] == '1' then
	if owner == mine + 1 then
		redis.call('HSET', KEYS[1], 'row', ARGV[3], 'by', ARGV[2])
		return 1
	end
	return 0
end
if ARGV[3] == '' then
	return owner == mine and redis.call('DEL', KEYS[1]) or 0
end
if owner ~= mine and owner ~= 0 then
	return 0
end
redis.call('HSET', KEYS[1], 'owner', mine, 'run', ARGV[2], 'row', ARGV[3], 'by', ARGV[2])
if ARGV[4] == '0' then
	redis.call('PERSIST', KEYS[1])
else
	redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return 1
