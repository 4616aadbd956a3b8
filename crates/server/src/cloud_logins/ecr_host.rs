//! Which ECR registry a host is, and where its service is.

/// The region of all public repositories (`public.ecr.aws`).
const PUBLIC_REGION: &str = "us-east-1";

/// An ECR registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EcrHost {
    /// The region whose service issues its logins.
    pub(super) region: String,
    /// Whether it is the public one.
    pub(super) is_public: bool,
}

impl EcrHost {
    /// Reads a registry's host: `ACCOUNT.dkr.ecr.REGION.amazonaws.com`, the same with `ecr-fips` or another partition's suffix,
    /// `ACCOUNT.dkr-ecr.REGION.on.aws`, or `public.ecr.aws`. `None`: none of these.
    pub(super) fn parse(host: &str) -> Option<Self> {
        if matches!(host, "public.ecr.aws" | "ecr-public.aws.com") {
            return Some(Self { region: PUBLIC_REGION.to_owned(), is_public: true });
        }
        let (account, rest) = host.split_once('.')?;
        let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        let services = ["dkr.ecr.", "dkr.ecr-fips.", "dkr-ecr.", "dkr-ecr-fips."];
        let rest = services.iter().find_map(|service| rest.strip_prefix(service))?;
        let (region, suffix) = rest.split_once('.')?;
        (is_account && is_region(region) && suffix.contains('.'))
            .then(|| Self { region: region.to_owned(), is_public: false })
    }

    /// Where its logins are issued, and the operation there.
    pub(super) fn service(&self) -> (String, &'static str) {
        if self.is_public {
            let address = format!("https://api.ecr-public.{}.amazonaws.com/", self.region);
            return (address, "SpencerFrontendService.GetAuthorizationToken");
        }
        let suffix = if self.region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let address = format!("https://api.ecr.{}.{suffix}/", self.region);
        (address, "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken")
    }

    /// Its service's name in signatures.
    pub(super) fn signing_name(&self) -> &'static str {
        if self.is_public { "ecr-public" } else { "ecr" }
    }
}

/// Whether a text can be a region: it becomes part of an address.
pub(super) fn is_region(text: &str) -> bool {
    let is_legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (3..=32).contains(&text.len()) && text.bytes().all(is_legal) && text.contains('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_of_a_registry_stands_in_its_host() {
        for (host, region, service) in [
            (
                "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
                "eu-central-1",
                "https://api.ecr.eu-central-1.amazonaws.com/",
            ),
            (
                "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
                "cn-north-1",
                "https://api.ecr.cn-north-1.amazonaws.com.cn/",
            ),
            (
                "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
                "us-gov-west-1",
                "https://api.ecr.us-gov-west-1.amazonaws.com/",
            ),
            ("123456789012.dkr-ecr.us-west-2.on.aws", "us-west-2", "https://api.ecr.us-west-2.amazonaws.com/"),
            ("public.ecr.aws", "us-east-1", "https://api.ecr-public.us-east-1.amazonaws.com/"),
        ] {
            let known = EcrHost::parse(host).unwrap_or_else(|| panic!("{host}"));
            assert_eq!((known.region.as_str(), known.service().0.as_str()), (region, service), "{host}");
            assert_eq!(known.is_public, host == "public.ecr.aws");
        }
        for host in [
            "dkr.ecr.eu-central-1.amazonaws.com",
            "12345678901.dkr.ecr.eu-central-1.amazonaws.com",
            "12345678901x.dkr.ecr.eu-central-1.amazonaws.com",
            "123456789012.dkr.ecr.evil@host.amazonaws.com",
            "123456789012.dkr.ecr.eu-central-1",
            "123456789012.s3.eu-central-1.amazonaws.com",
            "ghcr.io",
            "127.0.0.1",
            "",
        ] {
            assert_eq!(EcrHost::parse(host), None, "{host}");
        }
    }
}
