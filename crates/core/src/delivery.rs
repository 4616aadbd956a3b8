//! How a blob goes to the client: through this proxy, by a link, or not at all. Pure: decided from the platform's limits, the
//! blob's length and location, and the configuration.

use http::HeaderMap;
use url::Url;

use crate::config::{self, Links, Miss};
use crate::error::Obstacle;
use crate::platform::{Capabilities, IngestMode, StoreCapabilities};

/// How a blob goes to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeliveryMethod {
    /// Through this proxy.
    Through,
    /// By a link into our store.
    Link,
    /// First into our store, then as from there.
    Ingest,
    /// By the address that the upstream names.
    Upstream,
    /// Not at all.
    Refuse(Obstacle),
}

/// Where a blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlobLocation {
    /// In our store.
    Stored,
    /// At the upstream.
    Upstream,
}

/// Decides for a body of this length; `None`: unknown. For a range it is the length of the range.
pub(crate) fn decide(
    capabilities: &Capabilities,
    wish: &config::DeliveryConfig,
    store: StoreCapabilities,
    location: BlobLocation,
    length: Option<u64>,
) -> DeliveryMethod {
    let has_links = store.links && wish.links != Links::Never;
    let through = if capabilities.carries(length) { Some(DeliveryMethod::Through) } else { None };
    let refusal = if store.links {
        DeliveryMethod::Refuse(Obstacle::LinksOff)
    } else {
        DeliveryMethod::Refuse(Obstacle::NoStore)
    };
    match location {
        BlobLocation::Stored if wish.links == Links::Always && has_links => DeliveryMethod::Link,
        _ if capabilities.carries_well(length) => DeliveryMethod::Through,
        BlobLocation::Stored if has_links => DeliveryMethod::Link,
        BlobLocation::Stored => through.unwrap_or(refusal),
        BlobLocation::Upstream if has_links && store.uploads && capabilities.ingest != IngestMode::Never => {
            DeliveryMethod::Ingest
        }
        BlobLocation::Upstream => otherwise(capabilities, wish, length).unwrap_or(refusal),
    }
}

/// The alternative for a blob that is not, or not yet, in our store.
pub(crate) fn otherwise(
    capabilities: &Capabilities,
    wish: &config::DeliveryConfig,
    length: Option<u64>,
) -> Option<DeliveryMethod> {
    match wish.miss {
        Miss::Redirect => Some(DeliveryMethod::Upstream),
        Miss::Refuse if capabilities.carries(length) => Some(DeliveryMethod::Through),
        Miss::Refuse => None,
    }
}

/// Whether clients can follow a link.
pub(crate) fn check_link(
    capabilities: &Capabilities,
    link: &Url,
    our_host: &str,
    is_logged_in: bool,
) -> Result<(), Obstacle> {
    let bytes = "location".len() + link.as_str().len();
    if bytes + OTHER_HEADERS > capabilities.max_response_headers {
        return Err(Obstacle::LinkTooLong { bytes, limit_bytes: capabilities.max_response_headers });
    }
    let host = link.host_str().unwrap_or_default();
    let ours = match our_host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => host,
        _ => our_host,
    };
    let is_below = host.strip_suffix(ours).is_some_and(|rest| rest.ends_with('.'));
    if is_logged_in && (host == ours || is_below) { Err(Obstacle::LinkBelowUs) } else { Ok(()) }
}

/// Bytes of the other headers beside `Location`: a generous estimate.
const OTHER_HEADERS: usize = 512;

/// Bytes of names and values together.
pub(crate) fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// Whether a body of this length must be sent without `Content-Length`.
pub(crate) fn goes_unmeasured(capabilities: &Capabilities, length: Option<u64>) -> bool {
    let is_large = capabilities.max_inline_body.is_some_and(|most| length.is_none_or(|length| length > most));
    capabilities.streams_need_chunked && is_large
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::Profile;

    const NOTHING: StoreCapabilities = StoreCapabilities {
        links: false,
        uploads: false,
        stages_locally: false,
        verifies: false,
        reads_back: false,
        is_shared: false,
    };
    const BUCKET: StoreCapabilities = StoreCapabilities {
        links: true,
        uploads: true,
        stages_locally: true,
        verifies: false,
        reads_back: true,
        is_shared: true,
    };

    fn wish(links: Links, miss: Miss) -> config::DeliveryConfig {
        config::DeliveryConfig { links, miss, ..config::DeliveryConfig::default() }
    }

    /// Each platform, with layers below and above each of its limits.
    #[test]
    fn every_platform_carries_what_it_can() {
        use DeliveryMethod::{Ingest, Link, Refuse, Through, Upstream};
        const MB: u64 = 1_000_000;
        let auto = wish(Links::Auto, Miss::Redirect);
        for (profile, store, megabytes, stored, absent) in [
            (Profile::Server, NOTHING, 5000, Through, Through),
            (Profile::Server, BUCKET, 5000, Through, Through),
            (Profile::AliyunFc, NOTHING, 5000, Through, Through),
            (Profile::AliyunFc, BUCKET, 5000, Through, Through),
            (Profile::CloudRun, NOTHING, 5000, Through, Through),
            (Profile::AzureContainerApps, NOTHING, 5000, Through, Through),
            (Profile::CloudflareWorkers, NOTHING, 5000, Through, Through),
            (Profile::AwsLambda, NOTHING, 6, Through, Through),
            (Profile::AwsLambda, NOTHING, 7, Through, Upstream),
            (Profile::AwsLambda, NOTHING, 300, Refuse(Obstacle::NoStore), Upstream),
            (Profile::AwsLambda, BUCKET, 6, Through, Through),
            (Profile::AwsLambda, BUCKET, 7, Link, Ingest),
            (Profile::AwsLambda, BUCKET, 5000, Link, Ingest),
            (Profile::TencentScf, NOTHING, 5, Through, Through),
            (Profile::TencentScf, NOTHING, 6, Refuse(Obstacle::NoStore), Upstream),
            (Profile::TencentScf, BUCKET, 5, Through, Through),
            (Profile::TencentScf, BUCKET, 6, Link, Ingest),
            (Profile::TencentScf, BUCKET, 5000, Link, Ingest),
        ] {
            let capabilities = profile.capabilities();
            let decided = |location| decide(&capabilities, &auto, store, location, Some(megabytes * MB));
            let what = format!("{profile}, {store:?}, {megabytes} MB");
            assert_eq!(decided(BlobLocation::Stored), stored, "{what}, stored");
            assert_eq!(decided(BlobLocation::Upstream), absent, "{what}, absent");
        }
    }

    #[test]
    fn the_configuration_has_a_say() {
        use DeliveryMethod::{Link, Refuse, Through, Upstream};
        let (scf, fc) = (Profile::TencentScf.capabilities(), Profile::AliyunFc.capabilities());
        let lambda = Profile::AwsLambda.capabilities();
        let large = Some(100 << 20);
        let always = wish(Links::Always, Miss::Redirect);
        assert_eq!(decide(&fc, &always, BUCKET, BlobLocation::Stored, Some(1)), Link);
        assert_eq!(decide(&fc, &always, NOTHING, BlobLocation::Stored, large), Through);
        assert_eq!(decide(&fc, &always, BUCKET, BlobLocation::Upstream, large), Through);
        let never = wish(Links::Never, Miss::Refuse);
        assert_eq!(decide(&scf, &never, BUCKET, BlobLocation::Stored, large), Refuse(Obstacle::LinksOff));
        assert_eq!(decide(&scf, &never, BUCKET, BlobLocation::Upstream, large), Refuse(Obstacle::LinksOff));
        assert_eq!(decide(&lambda, &never, BUCKET, BlobLocation::Upstream, large), Through);
        let uploads_not = StoreCapabilities { uploads: false, ..BUCKET };
        let auto = wish(Links::Auto, Miss::Redirect);
        assert_eq!(decide(&scf, &auto, uploads_not, BlobLocation::Upstream, large), Upstream);
    }

    #[test]
    fn what_has_no_known_length_is_taken_for_large() {
        let auto = wish(Links::Auto, Miss::Redirect);
        let decided =
            |profile: Profile| decide(&profile.capabilities(), &auto, BUCKET, BlobLocation::Upstream, None);
        assert_eq!(decided(Profile::Server), DeliveryMethod::Through);
        assert_eq!(decided(Profile::AliyunFc), DeliveryMethod::Through);
        assert_eq!(decided(Profile::TencentScf), DeliveryMethod::Ingest);
    }

    #[test]
    fn a_link_must_fit_and_lead_away() {
        let check = |link: &str, ours: &str, profile: Profile, is_logged_in| {
            check_link(&profile.capabilities(), &Url::parse(link).unwrap(), ours, is_logged_in)
        };
        let long = format!("https://bucket.example/x?sig={}", "s".repeat(3500));
        let scf = Profile::TencentScf;
        assert!(matches!(
            check(&long, "fn.example", scf, false),
            Err(Obstacle::LinkTooLong { limit_bytes: 4000, .. })
        ));
        assert_eq!(check(&long, "fn.example", Profile::AliyunFc, false), Ok(()));
        for (link, ours, is_logged_in, expected) in [
            ("https://bucket.example/x", "proxy.example", true, Ok(())),
            ("https://proxy.example/x", "proxy.example", true, Err(Obstacle::LinkBelowUs)),
            ("https://proxy.example:9000/x", "proxy.example:443", true, Err(Obstacle::LinkBelowUs)),
            ("https://bucket.proxy.example/x", "proxy.example", true, Err(Obstacle::LinkBelowUs)),
            ("https://otherproxy.example/x", "proxy.example", true, Ok(())),
            ("https://proxy.example/x", "proxy.example", false, Ok(())),
            ("http://[::1]:9000/x", "[::1]:80", true, Err(Obstacle::LinkBelowUs)),
        ] {
            assert_eq!(check(link, ours, scf, is_logged_in), expected, "{link} from {ours}");
        }
    }

    #[test]
    fn streams_hide_their_length_only_where_they_must() {
        let unmeasured = |profile: Profile, length| goes_unmeasured(&profile.capabilities(), length);
        assert!(!unmeasured(Profile::Server, Some(1 << 40)));
        assert!(!unmeasured(Profile::CloudRun, Some(32 << 20)));
        assert!(unmeasured(Profile::CloudRun, Some((32 << 20) + 1)));
        assert!(unmeasured(Profile::AliyunFc, None));
        assert!(!unmeasured(Profile::TencentScf, Some(5_000_000)));
    }
}
