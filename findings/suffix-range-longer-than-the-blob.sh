#!/usr/bin/env bash
# Expected: "if the selected representation is shorter than the specified suffix-length, the entire representation is
# used" (RFC 9110, 14.1.2): bytes=-200 of 100 bytes is 0-99.
# Seen: the npm packages range-parser (which many servers use) and header-range-parser call it unsatisfiable (-1), so that
# such a server answers 416. The crates http-range and http-range-header give the whole.
# Matters to a proxy: readers of eStargz, zstd:chunked and zip layers begin with the last bytes of a blob and guess how
# many; for a small blob a storage server with these parsers answers 416, and the whole blob is the answer to fall back to.
. "$(dirname "$0")/lib/common.sh"
claim "a suffix range longer than the blob counts as unsatisfiable"
npm_install range-parser@1.3.0 header-range-parser@2.0.0
seen=$(
  node_run <<'JS'
const text = (ranges) => (Array.isArray(ranges) ? ranges.map(({ start, end }) => `${start}-${end}`).join() : String(ranges));
for (const header of ["bytes=-5", "bytes=-100", "bytes=-101"])
  console.log(header, "range-parser:", text(require("range-parser")(100, header)),
    "header-range-parser:", text(require("header-range-parser").parseRange(100, header)));
JS
)
expect "$seen" <<'WAS'
bytes=-5 range-parser: 95-99 header-range-parser: 95-99
bytes=-100 range-parser: 0-99 header-range-parser: 0-99
bytes=-101 range-parser: -1 header-range-parser: -1
WAS
