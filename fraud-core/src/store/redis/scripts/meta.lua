-- The store's times, as they are before the transactions of this call move them on.
-- KEYS: meta, greatest event times, smallest event times
-- ARGV: epoch, 1 to enter and 0 to take back, then for each transaction: second, digest
-- Gives: greatest or '', smallest or ''
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if epoch ~= ARGV[1] then return redis.error_reply('EPOCH ' .. (epoch or 'none')) end
local function first(command, key)
  local entry = redis.call(command, key, 0, 0, 'WITHSCORES')
  return entry[2] or ''
end
local greatest, smallest = first('ZREVRANGE', KEYS[2]), first('ZRANGE', KEYS[3])
if #ARGV > 2 then
  -- Some are kept, so that one can be taken back.
  local high, low = tonumber(greatest), tonumber(smallest)
  for index = 3, #ARGV, 2 do
    local second = tonumber(ARGV[index])
    if ARGV[2] == '0' then
      redis.call('ZREM', KEYS[2], ARGV[index + 1])
      redis.call('ZREM', KEYS[3], ARGV[index + 1])
    else
      if not high or second > high then
        redis.call('ZADD', KEYS[2], second, ARGV[index + 1])
        high = second
      end
      if not low or second < low then
        redis.call('ZADD', KEYS[3], second, ARGV[index + 1])
        low = second
      end
    end
  end
  if ARGV[2] == '1' then
    redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1025)
    redis.call('ZREMRANGEBYRANK', KEYS[3], 1024, -1)
  end
end
return {greatest, smallest}
