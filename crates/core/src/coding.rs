//! Content codings of documents: we ask for none, and some registries code all the same (P-93). Only what is small, held
//! whole and verified is decoded: a manifest, a list. A blob never is.

use std::io::{self, Read as _};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use crate::body::Arriving;
use crate::error::Failure;

/// The first bytes of everything that gzip has coded (RFC 1952 section 2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// What codes nothing: an empty element of a list (RFC 9110 section 5.6.1), `identity` (section 8.4.1), and the framing of
/// an upload, which object stores give back with the object although its bytes are stored without it
/// (aws/aws-sdk#498, versity/versitygw#2398, rustfs/rustfs#2009).
const NOT_CODED: [&[u8]; 3] = [b"", b"identity", b"aws-chunked"];

/// The codings that were applied to the bytes of these headers, in all lines and lists of them.
fn codings(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|coding| !NOT_CODED.iter().any(|nothing| coding.eq_ignore_ascii_case(nothing)))
}

/// Whether these headers belong to coded bytes.
pub fn is_coded(headers: &HeaderMap) -> bool {
    codings(headers).next().is_some()
}

/// The document itself, of at most `limit_bytes`, from the bytes that came with these headers. It waits for room before it
/// decodes: until the answer is held, coded bytes and document are counted as arriving, both.
///
/// # Errors
///
/// [`Failure::Coded`]: a coding other than gzip, or several. [`Failure::TooLarge`]: more than the limit once it is
/// decoded. [`Failure::Nonsense`]: not what its coding says, or cut short.
pub(crate) async fn decoded(
    headers: &HeaderMap,
    bytes: Bytes,
    limit_bytes: u64,
    arriving: &mut Arriving<'_>,
) -> Result<Bytes, Failure> {
    if !is_gzip(headers, &bytes)? {
        return Ok(bytes);
    }
    // Decoded twice: how much room it needs nobody knows before. No registry should send this at all.
    let length = inflate(&bytes, limit_bytes, &mut io::sink())?;
    arriving.reach((bytes.len() as u64).saturating_add(length)).await;
    let mut document = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    inflate(&bytes, limit_bytes, &mut document)?;
    Ok(document.into())
}

/// Whether these bytes are to be decoded.
fn is_gzip(headers: &HeaderMap, bytes: &[u8]) -> Result<bool, Failure> {
    let mut codings = codings(headers);
    let coding = match (codings.next(), codings.next()) {
        (None, _) => return Ok(false),
        (Some(coding), None) => coding,
        (Some(_), Some(_)) => return Err(Failure::Coded),
    };
    if !(coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip")) {
        return Err(Failure::Coded);
    }
    // Some platforms decode on the way and leave the header as it was. No document begins like gzip.
    Ok(bytes.starts_with(&GZIP_MAGIC))
}

/// Decodes gzip into this: how many bytes it was.
fn inflate(bytes: &[u8], limit_bytes: u64, into: &mut impl io::Write) -> Result<u64, Failure> {
    // One byte more tells what is too large from what just fits.
    let mut decoder = MultiGzDecoder::new(bytes).take(limit_bytes.saturating_add(1));
    let length = io::copy(&mut decoder, into).map_err(|_| Failure::Nonsense("gzip coding"))?;
    if length > limit_bytes { Err(Failure::TooLarge) } else { Ok(length) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use futures_util::FutureExt as _;
    use http::HeaderValue;

    use super::*;
    use crate::body::InFlight;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn decode(codings: &[&'static str], bytes: Vec<u8>, limit: u64) -> Result<Bytes, Failure> {
        let mut headers = HeaderMap::new();
        for coding in codings {
            headers.append(CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        let (account, upstream) = (InFlight::new(limit, true), "reg.example".into());
        let mut arriving = account.arriving(&upstream);
        decoded(&headers, bytes.into(), limit, &mut arriving).now_or_never().expect("there is room")
    }

    #[test]
    fn gzip_is_decoded_and_what_is_not_coded_stays() {
        for coding in ["gzip", "GZIP", "x-gzip"] {
            assert_eq!(decode(&[coding], gzip(b"{}"), 2).unwrap(), "{}");
        }
        for codings in [
            &[][..],
            &["identity"],
            &["Identity"],
            &[""],
            &[" , "],
            &["aws-chunked"],
            &["AWS-Chunked,identity"],
            &["", "identity"],
        ] {
            assert_eq!(decode(codings, gzip(b"{}"), 0).unwrap(), gzip(b"{}"), "the bytes are what was asked for");
        }
        assert_eq!(decode(&["gzip"], b"{}".to_vec(), 2).unwrap(), "{}", "decoded on the way");
        for codings in [&["identity, gzip"][..], &["gzip,"], &["aws-chunked,gzip"], &["", "gzip"]] {
            assert_eq!(decode(codings, gzip(b"{}"), 2).unwrap(), "{}", "{codings:?}");
        }
        let members = [gzip(b"{\"a\":"), gzip(b"1}")].concat();
        assert_eq!(decode(&["gzip"], members, 7).unwrap(), "{\"a\":1}");
    }

    #[test]
    fn no_more_is_decoded_than_the_limit() {
        let bomb = gzip(&vec![b' '; 64 << 20]);
        assert!(bomb.len() < 70_000);
        assert_eq!(decode(&["gzip"], bomb, 4 << 20), Err(Failure::TooLarge));
        assert_eq!(decode(&["gzip"], gzip(b"123"), 2), Err(Failure::TooLarge));
        assert_eq!(decode(&["gzip"], gzip(b"123"), 3).unwrap(), "123");
    }

    #[test]
    fn what_cannot_be_decoded_is_a_failure() {
        for codings in
            [&["br"][..], &["zstd"], &["deflate"], &["gzip, gzip"], &["gzip", "gzip"], &["aws-chunked, br"]]
        {
            assert_eq!(decode(codings, gzip(b"{}"), 99), Err(Failure::Coded), "{codings:?}");
        }
        let whole = gzip(b"{\"schemaVersion\":2}");
        for end in [2, 9, 15, whole.len() - 1] {
            let cut = whole[..end].to_vec();
            assert_eq!(decode(&["gzip"], cut, 99), Err(Failure::Nonsense("gzip coding")), "{end}");
        }
        let mut wrong = whole;
        let crc = wrong.len() - 6;
        wrong[crc] ^= 1;
        assert_eq!(decode(&["gzip"], wrong, 99), Err(Failure::Nonsense("gzip coding")));
    }
}
