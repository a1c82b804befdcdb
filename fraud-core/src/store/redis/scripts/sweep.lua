-- A customer or terminal that may have nothing left.
-- KEYS: marker, events, frauds, cells
-- ARGV: epoch, last second not kept, the marker's count of such keys
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return redis.error_reply('EPOCH another') end
if redis.call('EXISTS', KEYS[2]) == 0 then return 0 end
local newest = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')
if tonumber(newest[2]) > tonumber(ARGV[2]) then return 0 end
redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4])
redis.call('HINCRBY', KEYS[1], ARGV[3], -1)
return 1
