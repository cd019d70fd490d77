-- Claims identifiers and appends their messages to the shard's stream, in one step.
--
-- KEYS  {k}:log and one {k}:<16 bytes of the id> a message; all lie in one slot.
-- ARGV  how long an id is remembered (ms); how long the stream keeps an entry (ms) and how many
--       bytes it may have, 0: no trimming in this call; then token and record of each message.
-- Gives one text a message: "+" or "-" (first, repeat), then what is remembered of the id: one
--       number, ms since September 2020 of its place in the stream * 2^23 + token. Redis keeps a
--       number below 2^63 in the key's own object; any text would take 16 bytes more.
--
-- The append stands before the claim: where it fails nothing is claimed.
local log = KEYS[1]
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

for i = 2, #KEYS do
	local known = redis.call('GET', KEYS[i])
	if known then
		answers[i - 1] = '-' .. known
	else
		local place = redis.call('XADD', log, '*', 'm', ARGV[2 * i + 1])
		local dash = string.find(place, '-', 1, true)
		known = remembered(tonumber(string.sub(place, 1, dash - 1)), tonumber(ARGV[2 * i]))
		redis.call('SET', KEYS[i], known, 'PX', remember)
		answers[i - 1] = '+' .. known
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
