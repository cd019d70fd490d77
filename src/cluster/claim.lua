-- Claims identifiers and appends their messages to the shard's stream, in one step.
--
-- KEYS  {k}:log and one {k}:<16 bytes of the id> a message; all lie in one slot. Where one of them is
--       to be retained, also {k}:retained and {k}:expiring.
-- ARGV  how long an id is remembered (ms); how long the stream keeps an entry (ms) and how many
--       bytes it may have, 0: no trimming in this call; then token and record of each message.
--       Behind the token of one that is to be retained stand its expiry (s; 0: none; -: it clears
--       what is retained) and its topic, with spaces between. Behind the expiry of one that was
--       lost, and is put back, stand an @ and the place that it had.
-- Gives one text a message: "+" or "-" (first, repeat), then what is remembered of the id: one
--       number, ms since September 2020 of its place in the stream * 2^23 + token. Redis keeps a
--       number below 2^63 in the key's own object; any text would take 16 bytes more.
--
-- The append stands before the claim: where it fails nothing is claimed.
--
-- {k}:retained is a hash, topic to "<place> <record>"; under the empty topic the place from which on
-- it knows them all. {k}:expiring orders the topics that have an expiry by its end. Whatever is set
-- or cleared takes what has expired with it, so the hash does not grow by that.
local log = KEYS[1]
local count = (#ARGV - 3) / 2
local remember = ARGV[1]
local epoch = 1600000000000
local tokens = 8388608
local answers = {}

-- In two parts: a number here is exact up to 2^53 only.
local function remembered(ms, token)
	local low = (ms - epoch) % 1000000 * tokens + token
	local high = math.floor((ms - epoch) / 1000000) * tokens + math.floor(low / 1000000)
	return string.format('%.0f%06.0f', high, low % 1000000)
end

local function retain(expiry, topic, ms, place, record)
	local retained, expiring = KEYS[count + 2], KEYS[count + 3]
	redis.call('HSETNX', retained, '', place)
	if expiry == '-' then
		redis.call('HDEL', retained, topic)
	else
		redis.call('HSET', retained, topic, place .. ' ' .. record)
	end
	if tonumber(expiry) and tonumber(expiry) > 0 then
		redis.call('ZADD', expiring, string.format('%.0f', ms + expiry * 1000), topic)
	else
		redis.call('ZREM', expiring, topic)
	end
	for _, gone in ipairs(redis.call('ZRANGEBYSCORE', expiring, '-inf', ms, 'LIMIT', 0, 8)) do
		redis.call('HDEL', retained, gone)
		redis.call('ZREM', expiring, gone)
	end
end

local function is_later(a, b)
	local ms, number = string.match(a, '^(%d+)-(%d+)')
	local other_ms, other_number = string.match(b, '^(%d+)-(%d+)')
	ms, other_ms = tonumber(ms), tonumber(other_ms)
	return ms > other_ms or ms == other_ms and tonumber(number) > tonumber(other_number)
end

-- What was retained since it was lost stays; it is appended all the same, without the flag (record.h).
local function put_back(topic, place, record)
	local has = redis.call('HGET', KEYS[count + 2], topic)
	if not has or not is_later(has, place) then
		return topic, record
	end
	local flags = string.byte(record, 2)
	if flags % 4 >= 2 then
		flags = flags - 2
	end
	return nil, string.sub(record, 1, 1) .. string.char(flags) .. string.sub(record, 3)
end

for i = 2, count + 1 do
	local known = redis.call('GET', KEYS[i])
	if known then
		answers[i - 1] = '-' .. known
	else
		local record = ARGV[2 * i + 1]
		local token, expiry, stood, topic = tonumber(ARGV[2 * i])
		if not token then
			token, expiry, stood, topic = string.match(ARGV[2 * i], '^(%d+) ([^ @]+)@?(%S*) (.+)$')
			if stood ~= '' then
				topic, record = put_back(topic, stood, record)
			end
		end
		local place = redis.call('XADD', log, '*', 'm', record)
		local dash = string.find(place, '-', 1, true)
		local ms = tonumber(string.sub(place, 1, dash - 1))
		known = remembered(ms, token)
		redis.call('SET', KEYS[i], known, 'PX', remember)
		answers[i - 1] = '+' .. known
		if topic then
			retain(expiry, topic, ms, place, record)
		end
	end
end

local keep = tonumber(ARGV[2])
local most = tonumber(ARGV[3])
if keep > 0 then
	local now = redis.call('TIME')
	local oldest = now[1] * 1000 + math.floor(now[2] / 1000) - keep
	redis.call('XTRIM', log, 'MINID', '~', string.format('%.0f', oldest))
end
if most > 0 then
	local used = redis.call('MEMORY', 'USAGE', log)
	if used and used > most then
		local length = redis.call('XLEN', log)
		redis.call('XTRIM', log, 'MAXLEN', '~', string.format('%.0f', length * most / used))
	end
end
return answers
