-- Takes back what a transaction that turned out to be refused had entered. Not an id that a profile was given for: another
-- process found the transaction and answered it, while this one stood still perhaps.
-- KEYS: marker, then: chunk of its id, profiles given on its day | events, cells of a customer or terminal
-- ARGV: epoch, then: id, entry | second, member, the marker's count of such keys
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return redis.error_reply('EPOCH another') end
if #ARGV == 3 then
  if redis.call('HGET', KEYS[2], ARGV[2]) ~= ARGV[3] or redis.call('HEXISTS', KEYS[3], ARGV[2]) == 1 then return 0 end
  redis.call('HDEL', KEYS[2], ARGV[2])
  redis.call('HINCRBY', KEYS[1], 'events', -1)
else
  if redis.call('ZREM', KEYS[2], ARGV[3]) == 0 then return 0 end
  local second = tonumber(ARGV[2])
  redis.call('HDEL', KEYS[3], 'd' .. (math.floor(second / 86400) * 86400), 'h' .. (math.floor(second / 3600) * 3600),
    'm' .. (math.floor(second / 60) * 60))
  -- Whoever read before must not write a cell of what he read.
  redis.call('HINCRBY', KEYS[3], 'version', 1)
  if redis.call('EXISTS', KEYS[2]) == 0 then redis.call('HINCRBY', KEYS[1], ARGV[4], -1) end
end
redis.call('HINCRBY', KEYS[1], 'writes', 1)
return 1
