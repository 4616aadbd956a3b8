#!/usr/bin/env bash
# Expected: a last position beyond the end means "to the end" however large it is (RFC 9110, 14.1.2; the grammar does not
# bound the digits), and names of range units do not depend on case (14.1).
# Seen: http-range 0.1.6 refuses a last position beyond 64 bits, which http-range-header 1.0.0 reads as "to the end".
# http-content-range 0.2.5 does not know "Bytes 0-3/100", though both others take "Bytes=0-3".
# Matters to a proxy: which of them stands behind a server decides between 206, 416 and 200 for one header; where a range
# is passed on, the upstream's parser decides, not the proxy's.
. "$(dirname "$0")/lib/common.sh"
claim "three Rust crates for Range and Content-Range differ in what they read"
echo "from crates.io: http-range 0.1.6, http-range-header 1.0.0, http-content-range 0.2.5"
seen=$(
  rust_run 'http-range = "=0.1.6"' 'http-range-header = "=1.0.0"' 'http-content-range = "=0.2.5"' <<'RS'
fn main() {
    for header in ["bytes=0-99999999999999999999", "Bytes=0-3"] {
        let one = http_range::HttpRange::parse(header, 100)
            .map(|ranges| ranges.iter().map(|r| (r.start, r.start + r.length - 1)).collect::<Vec<_>>());
        let two = http_range_header::parse_range_header(header)
            .and_then(|ranges| ranges.validate(100))
            .map(|ranges| ranges.iter().map(|r| (*r.start(), *r.end())).collect::<Vec<_>>());
        let show = |good: Option<Vec<(u64, u64)>>| good.map_or("refused".to_owned(), |ranges| format!("{ranges:?}"));
        println!("{header}: http-range {}, http-range-header {}", show(one.ok()), show(two.ok()));
    }
    for header in ["bytes 0-3/100", "Bytes 0-3/100"] {
        println!("{header}: http-content-range {}", http_content_range::ContentRange::parse(header).is_some());
    }
}
RS
)
expect "$seen" <<'WAS'
bytes=0-99999999999999999999: http-range refused, http-range-header [(0, 99)]
Bytes=0-3: http-range [(0, 3)], http-range-header [(0, 3)]
bytes 0-3/100: http-content-range true
Bytes 0-3/100: http-content-range false
WAS
