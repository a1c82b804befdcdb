-- One transaction at its customer or its terminal: what the windows need is read, then it is entered.
-- KEYS: marker, events, frauds, cells
-- ARGV: epoch, 1 to record, second, member, last second that may be deleted ('' for none), second at which frauds are
--       counted ('' for no frauds), the marker's count of such keys, bounds of the windows in order
-- Gives: writes, 1 if it was there, version of the cells, events, labels, cells found, cells missing
local marker = redis.call('HMGET', KEYS[1], 'epoch', 'writes')
if marker[1] ~= ARGV[1] then return redis.error_reply('EPOCH ' .. (marker[1] or 'none')) end
local events, frauds, cells = KEYS[2], KEYS[3], KEYS[4]
local LEAF, WORTH = 128, 8
local SPANS, NAMES = {86400, 3600, 60}, {'d', 'h', 'm'}
local now = tonumber(ARGV[6])
local labelled = now and redis.call('EXISTS', frauds) == 1
local cached = redis.call('EXISTS', cells) == 1
local plain, labels, found, missing = {}, {}, {}, {}

-- The events of [from, to] one by one.
local function read(from, to)
  local members = redis.call('ZRANGEBYSCORE', events, from, to)
  if #members == 0 then return end
  plain[#plain + 1] = table.concat(members)
  if labelled then labels[#labels + 1] = table.concat(redis.call('ZRANGEBYSCORE', frauds, from, to)) end
end

-- The events of [from, to): few of them one by one, many of them as cells of days, hours, minutes.
local function collect(from, to, level)
  if from >= to then return end
  local count = redis.call('ZCOUNT', events, from, to - 1)
  if count == 0 then return end
  if count <= LEAF or level > #SPANS then return read(from, to - 1) end
  local span = SPANS[level]
  local first, last = math.ceil(from / span) * span, math.floor(to / span) * span
  if first >= last then return collect(from, to, level + 1) end
  collect(from, first, level + 1)
  local fields = {}
  for start = first, last - span, span do fields[#fields + 1] = NAMES[level] .. start end
  local have = cached and redis.call('HMGET', cells, unpack(fields)) or {}
  for index, field in ipairs(fields) do
    local start, cell = first + (index - 1) * span, have[index]
    -- Until its last label is in force, a cell does not say how many frauds are known.
    local settled = cell and tonumber(string.match(cell, '^(-?%d*)|'))
    if cell and not (now and settled and now < settled) then
      found[#found + 1], found[#found + 2] = field, cell
    else
      local inside = redis.call('ZCOUNT', events, start, start + span - 1)
      if inside > 0 then collect(start, start + span, level + 1) end
      if inside >= WORTH and not cell then missing[#missing + 1] = field end
    end
  end
  collect(last, to, level + 1)
end

local bounds = {}
for index = 8, #ARGV do bounds[#bounds + 1] = tonumber(ARGV[index]) end
if #bounds > 1 then
  local count = redis.call('ZCOUNT', events, bounds[1], bounds[#bounds] - 1)
  if count > LEAF then
    for index = 1, #bounds - 1 do collect(bounds[index], bounds[index + 1], 1) end
  elseif count > 0 then
    read(bounds[1], bounds[#bounds] - 1)
  end
end

local function forget_cells(second)
  if not cached then return end
  local fields = {}
  for level, span in ipairs(SPANS) do fields[level] = NAMES[level] .. (math.floor(second / span) * span) end
  redis.call('HDEL', cells, unpack(fields))
end

local there = redis.call('ZSCORE', events, ARGV[4])
local writes = tonumber(marker[2] or 0)
if ARGV[2] == '1' then
  if not there then
    redis.call('ZADD', events, ARGV[3], ARGV[4])
    forget_cells(tonumber(ARGV[3]))
    writes = redis.call('HINCRBY', KEYS[1], 'writes', 1)
    if redis.call('ZCARD', events) == 1 then redis.call('HINCRBY', KEYS[1], ARGV[7], 1) end
  end
  -- A few at a time, and more than come.
  local old = ARGV[5] ~= '' and redis.call('ZRANGEBYSCORE', events, '-inf', ARGV[5], 'WITHSCORES', 'LIMIT', 0, 16) or {}
  for index = 1, #old, 2 do
    redis.call('ZREM', events, old[index])
    forget_cells(tonumber(old[index + 1]))
  end
  if #old > 0 then redis.call('ZREMRANGEBYSCORE', frauds, '-inf', ARGV[5]) end
end
local version = #missing > 0 and redis.call('HGET', cells, 'version') or ''
return {writes, there and 1 or 0, version or '', table.concat(plain), table.concat(labels), found, missing}
