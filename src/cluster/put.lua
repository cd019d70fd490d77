-- A session's row is written, or the session ended, by who has it; the last row also by who has just
-- lost it to another that has written none yet.
--
-- KEYS  the session.
-- ARGV  the caller's owner number; who he is; the row; after how long it may go (ms), 0: never, kept as
--       "keep" for touch.lua;
--       "put", "give": the last one, "bare": it lasts no longer than its connection, "drop": it ends.
-- Gives 1, or 0: another has it.
--
-- The field "of" is the number under which the row was written; "new", if there is one, that of a clean
-- start, before which no row counts (take.lua).
local key = KEYS[1]
local owner = tonumber(redis.call('HGET', key, 'owner') or 0)
local mine = tonumber(ARGV[1])
local what = ARGV[5]
local new = tonumber(redis.call('HGET', key, 'new') or 0)

local function began()
	if mine >= new then
		redis.call('HDEL', key, 'new')
	end
end

if what == 'give' then
	if owner ~= mine + 1 or tonumber(redis.call('HGET', key, 'of') or 0) == owner then
		return 0
	end
	redis.call('HSET', key, 'row', ARGV[3], 'by', ARGV[2], 'of', mine)
	began()
	return 1
end
if what == 'drop' then
	return owner == mine and redis.call('DEL', key) or 0
end
if owner ~= mine and owner ~= 0 then
	return 0
end
if what == 'bare' then
	redis.call('HDEL', key, 'row', 'by')
	redis.call('HSET', key, 'owner', mine, 'run', ARGV[2], 'of', mine)
else
	redis.call('HSET', key, 'owner', mine, 'run', ARGV[2], 'row', ARGV[3], 'by', ARGV[2], 'of', mine)
end
began()
if ARGV[4] == '0' then
	redis.call('HDEL', key, 'keep')
	redis.call('PERSIST', key)
else
	redis.call('HSET', key, 'keep', ARGV[4])
	redis.call('PEXPIRE', key, ARGV[4])
end
return 1
