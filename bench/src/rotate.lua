-- Asks for one path after the other, each thread from another place on. The file of paths is the script's argument.
local threads, requests, at = 0, {}, 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(arguments)
  for path in io.lines(arguments[1]) do
    requests[#requests + 1] = wrk.format("GET", path)
  end
  at = math.floor(#requests * number / 2)
end

function request()
  at = at % #requests + 1
  return requests[at]
end
