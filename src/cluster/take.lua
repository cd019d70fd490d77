-- A session is taken by the caller, whoever had it.
--
-- KEYS  the session.
-- ARGV  1  the caller, "NODE/START"
--       2  the number of this take: one that is sent again is done once
--       3  "take"; "claim": its client's CONNECT came while Redis was away, and yields to a later one;
--          "undo": of a take that nobody waited for
--       4  how long ago CONNECT came (ms)
--       5  how long the session may stay without a row (ms)
--       6  "1": it lasts
--       7  the client's address, empty: not known
--       8  "1": a session of another address is left to that
--       9  "1": clean start
-- Gives {owner number from now on, who had it, its row, who wrote that}; empty texts: nobody, none. A claim
-- that yields, and a take that is left to another address, get the number 0.
--
-- The row of before a clean start stays, as that may be undone, but is told to nobody: "new" says so, until
-- put.lua has a row under that number or a later one.
local key = KEYS[1]
local was = redis.call('HMGET', key, 'run', 'row', 'by', 'take', 'from', 'since', 'before', 'at', 'new',
	'undo_at', 'undo_new', 'undo_ttl', 'keep')
local time = redis.call('TIME')
local since = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[4]
local last = tonumber(was[6] or 0)
local is_mine = was[1] == ARGV[1]
local row, by = was[2] or '', was[3] or ''

local function put_back(field, value)
	if value and value ~= '' then
		redis.call('HSET', key, field, value)
	else
		redis.call('HDEL', key, field)
	end
end

if ARGV[3] == 'undo' then
	if is_mine and was[4] == ARGV[2] then
		redis.call('HINCRBY', key, 'owner', -1)
		redis.call('HSET', key, 'run', was[5], 'take', '', 'since', was[7])
		put_back('at', was[10])
		put_back('new', was[11])
		local ttl = tonumber(was[12] or 0)
		if ttl == -1 then
			redis.call('PERSIST', key)
		elseif ttl > 0 then
			redis.call('PEXPIRE', key, ttl)
		end
	end
	return {}
end
if was[9] then
	row, by = '', ''
end
if is_mine and was[4] == ARGV[2] then
	return {tonumber(redis.call('HGET', key, 'owner')), was[5] or '', row, by}
end
if ARGV[3] == 'claim' and was[1] and not is_mine and last > since then
	return {0, was[1], '', ''}
end
if not (ARGV[3] == 'claim' and is_mine) then
	since = math.max(since, last)
end
if ARGV[8] == '1' and was[8] and was[8] ~= ARGV[7] then
	return {0, was[1] or '', row, ''}
end
local ttl = redis.call('PTTL', key)
local owner = redis.call('HINCRBY', key, 'owner', 1)
redis.call('HSET', key, 'run', ARGV[1], 'take', ARGV[2], 'from', was[1] or '',
	'since', string.format('%.0f', since), 'before', was[6] or 0,
	'undo_at', was[8] or '', 'undo_new', was[9] or '', 'undo_ttl', ttl)
if ARGV[3] == 'claim' then
	redis.call('HSET', key, 'of', owner)
end
if ARGV[7] ~= '' then
	redis.call('HSET', key, 'at', ARGV[7])
end
if ARGV[9] == '1' then
	redis.call('HSET', key, 'new', owner)
end
-- Until it has a row of the caller: as long as from its connection's end on, and more.
if ARGV[6] == '1' and ARGV[9] ~= '1' and row ~= '' then
	if was[13] then
		redis.call('PEXPIRE', key, string.format('%.0f', was[13] + ARGV[5]))
	else
		redis.call('PERSIST', key)
	end
else
	redis.call('PEXPIRE', key, ARGV[5])
end
return {owner, was[1] or '', row, by}
