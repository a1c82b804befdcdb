-- The profile given for a transaction, kept unless there is one.
-- KEYS: marker, numbers of the days there are, profiles given on its day
-- ARGV: epoch, id, profile, how keys of this tag begin, number of its day, number of the first day still kept
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return redis.error_reply('EPOCH another') end
if redis.call('HSETNX', KEYS[3], ARGV[2], ARGV[3]) == 1 and redis.call('HLEN', KEYS[3]) == 1 then
  redis.call('SADD', KEYS[2], ARGV[5])
  for _, number in ipairs(redis.call('SMEMBERS', KEYS[2])) do
    if tonumber(number) < tonumber(ARGV[6]) then
      redis.call('UNLINK', ARGV[4] .. 'r:' .. number)
      redis.call('SREM', KEYS[2], number)
    end
  end
end
return 1
