-- A session is taken by the caller, whoever had it.
--
-- KEYS  the session.
-- ARGV  the caller, "NODE/START"; the number of this take: one that is sent again is done once;
--       "take"; "claim": its client's CONNECT came while Redis was away, and yields to a later one;
--       "undo": of a take that nobody waited for; how long ago CONNECT came (ms); how long the session may stay without a row (ms); "1": it lasts; the
--       client's address, empty: not known; "1": a session of another address is left to that.
-- Gives {owner number from now on, who had it, its row, who wrote that}; empty texts: nobody, none. A claim
-- that yields, and a take that is left to another address, get the number 0.
local key = KEYS[1]
local was = redis.call('HMGET', key, 'run', 'row', 'by', 'take', 'from', 'since', 'before', 'at')
local time = redis.call('TIME')
local since = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[4]
local last = tonumber(was[6] or 0)
local is_mine = was[1] == ARGV[1]

if ARGV[3] == 'undo' then
	if is_mine and was[4] == ARGV[2] then
		redis.call('HINCRBY', key, 'owner', -1)
		redis.call('HSET', key, 'run', was[5], 'take', '', 'since', was[7])
	end
	return {}
end
if is_mine and was[4] == ARGV[2] then
	return {tonumber(redis.call('HGET', key, 'owner')), was[5] or '', was[2] or '', was[3] or ''}
end
if ARGV[3] == 'claim' and was[1] and not is_mine and last > since then
	return {0, was[1], '', ''}
end
if not (ARGV[3] == 'claim' and is_mine) then
	since = math.max(since, last)
end
if ARGV[8] == '1' and was[8] and was[8] ~= ARGV[7] then
	return {0, was[1] or '', was[2] or '', ''}
end
local owner = redis.call('HINCRBY', key, 'owner', 1)
redis.call('HSET', key, 'run', ARGV[1], 'take', ARGV[2], 'from', was[1] or '',
	'since', string.format('%.0f', since), 'before', was[6] or 0)
if ARGV[3] == 'claim' then
	redis.call('HSET', key, 'of', owner)
end
if ARGV[7] ~= '' then
	redis.call('HSET', key, 'at', ARGV[7])
end
if ARGV[6] == '1' and was[2] then
	redis.call('PERSIST', key)
else
	redis.call('PEXPIRE', key, ARGV[5])
end
return {owner, was[1] or '', was[2] or '', was[3] or ''}
