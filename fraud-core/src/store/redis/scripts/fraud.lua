-- The labels of a transaction that was ever called fraud, at its customer or terminal. Adding them again adds nothing.
-- KEYS: marker, frauds, cells
-- ARGV: epoch, second of the transaction, labels
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return redis.error_reply('EPOCH another') end
local added = 0
for index = 3, #ARGV do added = added + redis.call('ZADD', KEYS[2], ARGV[2], ARGV[index]) end
if added > 0 then
  local second = tonumber(ARGV[2])
  redis.call('HDEL', KEYS[3], 'd' .. (math.floor(second / 86400) * 86400), 'h' .. (math.floor(second / 3600) * 3600),
    'm' .. (math.floor(second / 60) * 60))
  redis.call('HINCRBY', KEYS[1], 'writes', 1)
end
return added
