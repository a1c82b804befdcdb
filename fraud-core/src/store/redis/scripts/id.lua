-- The transaction at its id: claimed, or found with what it was.
-- KEYS: marker, numbers of the chunks there are, profiles given on its day, its chunk, the other chunks
-- ARGV: epoch, 1 to record, id, entry, last second not kept ('' for none), how keys of this tag begin, number of its
--       chunk, number of the first chunk still kept ('' to delete none)
-- Gives: writes, the entry found or '', the profile given or ''
local marker = redis.call('HMGET', KEYS[1], 'epoch', 'writes')
if marker[1] ~= ARGV[1] then return redis.error_reply('EPOCH ' .. (marker[1] or 'none')) end
local writes, floor = tonumber(marker[2] or 0), tonumber(ARGV[5])
for index = 4, #KEYS do
  local entry = redis.call('HGET', KEYS[index], ARGV[3])
  if entry then
    local a, b, c, d, e = string.byte(entry, 11, 15)
    local second = (((a * 256 + b) * 256 + c) * 256 + d) * 256 + e - 62135596800
    if not floor or second > floor then
      local same = string.sub(entry, 1, 10) == string.sub(ARGV[4], 1, 10)
      return {writes, entry, same and redis.call('HGET', KEYS[3], ARGV[3]) or ''}
    end
  end
end
if ARGV[2] ~= '1' then return {writes, '', ''} end
redis.call('HSET', KEYS[4], ARGV[3], ARGV[4])
-- What an expired transaction of this id had.
redis.call('HDEL', KEYS[3], ARGV[3])
redis.call('HDEL', ARGV[6] .. 'l:' .. ARGV[7], ARGV[3])
redis.call('HINCRBY', KEYS[1], 'events', 1)
-- A chunk begins: those that nothing is kept of go.
if redis.call('HLEN', KEYS[4]) == 1 then
  local first = tonumber(ARGV[8])
  redis.call('SADD', KEYS[2], ARGV[7])
  for _, number in ipairs(redis.call('SMEMBERS', KEYS[2])) do
    if first and tonumber(number) < first then
      redis.call('HINCRBY', KEYS[1], 'events', -redis.call('HLEN', ARGV[6] .. 'i:' .. number))
      redis.call('UNLINK', ARGV[6] .. 'i:' .. number, ARGV[6] .. 'l:' .. number)
      redis.call('SREM', KEYS[2], number)
    end
  end
end
return {redis.call('HINCRBY', KEYS[1], 'writes', 1), '', ''}
