-- A label at the transaction's id.
-- KEYS: marker, then the chunks, then the label chunks of the same numbers
-- ARGV: epoch, id, last second not kept ('' for none), observed_at in 8 bytes, one byte: 1 for fraud
-- Gives: writes, 0 unknown 1 unchanged 2 applied, the entry, all labels of 9 bytes each
local marker = redis.call('HMGET', KEYS[1], 'epoch', 'writes')
if marker[1] ~= ARGV[1] then return redis.error_reply('EPOCH ' .. (marker[1] or 'none')) end
local writes, floor = tonumber(marker[2] or 0), tonumber(ARGV[3])
local chunks = (#KEYS - 1) / 2
for index = 2, chunks + 1 do
  local entry = redis.call('HGET', KEYS[index], ARGV[2])
  if entry then
    local a, b, c, d, e = string.byte(entry, 11, 15)
    local second = (((a * 256 + b) * 256 + c) * 256 + d) * 256 + e - 62135596800
    if not floor or second > floor then
      local key = KEYS[index + chunks]
      local labels = redis.call('HGET', key, ARGV[2]) or ''
      local outcome = 2
      for at = 1, #labels, 9 do
        if string.sub(labels, at, at + 7) == ARGV[4] then
          if string.sub(labels, at + 8, at + 8) == '\1' or ARGV[5] == '\0' then outcome = 1 end
          labels = outcome == 2 and string.sub(labels, 1, at - 1) .. string.sub(labels, at + 9) or labels
          break
        end
      end
      if outcome == 2 then
        labels = labels .. ARGV[4] .. ARGV[5]
        redis.call('HSET', key, ARGV[2], labels)
        writes = redis.call('HINCRBY', KEYS[1], 'writes', 1)
      end
      return {writes, outcome, entry, labels}
    end
  end
end
return {writes, 0, '', ''}
