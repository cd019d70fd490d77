-- One node's counts join those of the cluster.
--
-- KEYS  hash of the totals, centre to figures; hash of what each node has, node to its list;
--       hash of what this node has told, centre to figures, "" to the run that told it.
-- ARGV  node; run; its list (empty: as told last); how many figures are sums, the others are the
--       largest; how long what it told is kept (ms); then centre and figures by turns.
-- Gives {totals, lists}, each as HGETALL does.
--
-- A run tells what it has counted since its start; what is new in it is added, so telling it twice
-- counts once. What a run has told that is no more is in the totals already.
local sums = tonumber(ARGV[4])

local function numbers(text)
	local list = {}
	for word in string.gmatch(text or '', '%d+') do
		list[#list + 1] = tonumber(word)
	end
	return list
end

if redis.call('HGET', KEYS[3], '') ~= ARGV[2] then
	redis.call('DEL', KEYS[3])
	redis.call('HSET', KEYS[3], '', ARGV[2])
end
redis.call('PEXPIRE', KEYS[3], ARGV[5])
if ARGV[3] ~= '' then
	redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
end
for i = 6, #ARGV, 2 do
	local told = numbers(redis.call('HGET', KEYS[3], ARGV[i]))
	local total = numbers(redis.call('HGET', KEYS[1], ARGV[i]))
	for f, now in ipairs(numbers(ARGV[i + 1])) do
		local all = total[f] or 0
		if f <= sums then
			all = all + math.max(now - (told[f] or 0), 0)
		else
			all = math.max(all, now)
		end
		total[f] = string.format('%.0f', all)
	end
	redis.call('HSET', KEYS[1], ARGV[i], table.concat(total, ' '))
	redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1])
end
return {redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2])}
