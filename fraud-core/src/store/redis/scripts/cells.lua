-- Cells that a reader made of the events it got, kept only where those are still all there are.
-- KEYS: marker, events, frauds, cells
-- ARGV: epoch, version of the cells, then for each: field, first second, last second, events, labels, cell
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return redis.error_reply('EPOCH another') end
if (redis.call('HGET', KEYS[4], 'version') or '') ~= ARGV[2] then return 0 end
local kept = 0
for index = 3, #ARGV, 6 do
  local from, to = ARGV[index + 1], ARGV[index + 2]
  if redis.call('ZCOUNT', KEYS[2], from, to) == tonumber(ARGV[index + 3])
    and redis.call('ZCOUNT', KEYS[3], from, to) == tonumber(ARGV[index + 4]) then
    redis.call('HSET', KEYS[4], ARGV[index], ARGV[index + 5])
    kept = kept + 1
  end
end
return kept
