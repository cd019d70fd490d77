-- Claims identifiers and appends their messages to the shard's stream, in one step.
--
-- KEYS  {k}:log and one {k}:<16 bytes of the id> a message; all lie in one slot.
-- ARGV  how long an id is remembered (ms); how long the stream keeps an entry (ms) and how many
--       bytes it may have, 0: no trimming in this call; then token and record of each message.
-- Gives one text a message: "+" or "-" (first, repeat), then what is remembered of the id in 12
--       bytes (one more takes 8 more of Redis' memory): token 4, and place in the stream, ms since
--       September 2020 in 5 and number in 3, high byte first.
--
-- The append stands before the claim: where it fails nothing is claimed.
local log = KEYS[1]
local remember = ARGV[1]
local epoch = 1600000000000
local answers = {}

for i = 2, #KEYS do
	local known = redis.call('GET', KEYS[i])
	if known then
		answers[i - 1] = '-' .. known
	else
		local place = redis.call('XADD', log, '*', 'm', ARGV[2 * i + 1])
		local dash = string.find(place, '-', 1, true)
		known = ARGV[2 * i] .. struct.pack('>I5I3', tonumber(string.sub(place, 1, dash - 1)) - epoch,
			math.min(tonumber(string.sub(place, dash + 1)), 0xffffff))
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
