//! What each platform can do, and its limits: data, so that one test suite runs the behaviour of every platform.

use std::fmt;
use std::str::FromStr;

pub use crate::profile::Profile;

/// No such platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {}", Profile::NAMES)]
pub struct UnknownProfile;

/// What a platform can do, and its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a row of a table, one fact a column")]
pub struct Capabilities {
    /// The platform.
    pub profile: Profile,
    /// Whether one request may wait for another's work. Not so on Workers, whose runtime cancels it.
    pub shares_io: bool,
    /// Bytes of an answer's body that go in one piece; `None`: no limit.
    pub max_inline_body: Option<u64>,
    /// Bytes of a body that go as a stream of unknown length; `None`: no limit, zero: no streams.
    pub max_streamed_body: Option<u64>,
    /// Bytes of a request's path and query; `None`: no limit that addresses come near.
    pub max_target: Option<usize>,
    /// Bytes of an answer's headers, names and values together.
    pub max_response_headers: usize,
    /// Whether a body over `max_inline_body` must not say its length, so that it goes as a stream.
    pub streams_need_chunked: bool,
    /// Whether the Content-Length of a HEAD reaches the client as it is.
    pub head_length_reliable: bool,
    /// Whether an answer without a byte of a body is known to reach the client. Where it is a stream that ends before it
    /// began, others have waited for ever (awslabs/aws-lambda-web-adapter#499, nitrojs/nitro#4417).
    pub passes_empty: bool,
    /// Whether bodies that break off look broken to the client without a Content-Length: workerd ends a chunked one with
    /// a proper last chunk, whatever became of it.
    pub breaks_chunked: bool,
    /// Whether `WWW-Authenticate` reaches the client under its name.
    pub can_challenge: bool,
    /// Whether work goes on once an answer has been sent.
    pub outlives_response: bool,
    /// Bytes of a blob that may lie on the instance's own disk while they are on their way into a bucket; `None`: as many
    /// as the disk takes.
    pub max_scratch: Option<u64>,
    /// Who fetches blobs that are too large for an answer.
    pub ingest: IngestMode,
}

/// Who fetches blobs into the store that are too large for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IngestMode {
    /// Nobody: the platform carries answers of any size.
    Never,
    /// The requests that need it, a slice each.
    InRequest,
    /// An invocation of its own, which the platform starts.
    SelfInvoke,
}

impl Profile {
    /// All of them, as the configuration spells them.
    pub const ALL: [Self; 7] = [
        Self::Server,
        Self::AliyunFc,
        Self::AwsLambda,
        Self::TencentScf,
        Self::CloudRun,
        Self::AzureContainerApps,
        Self::CloudflareWorkers,
    ];
    const NAMES: &'static str =
        "server, aliyun-fc, aws-lambda, tencent-scf, cloud-run, azure-container-apps, cloudflare-workers";

    /// Recognises the platform by its environment variables; `REGISTRY_PROXY_PLATFORM` overrides that.
    pub fn detect<'a>(variable: impl Fn(&str) -> Option<&'a str>) -> Result<Self, UnknownProfile> {
        let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
        if let Some(name) = variable("REGISTRY_PROXY_PLATFORM").filter(|name| !name.is_empty()) {
            return name.parse();
        }
        Ok(if is_set("AWS_LAMBDA_RUNTIME_API") {
            Self::AwsLambda
        } else if variable("TENCENTCLOUD_RUNENV") == Some("SCF") {
            Self::TencentScf
        } else if is_set("FC_FUNCTION_NAME") || is_set("FC_SERVER_PORT") {
            Self::AliyunFc
        } else if is_set("K_SERVICE") {
            Self::CloudRun
        } else if is_set("CONTAINER_APP_NAME") {
            Self::AzureContainerApps
        } else {
            Self::Server
        })
    }

    /// As the configuration spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::AliyunFc => "aliyun-fc",
            Self::AwsLambda => "aws-lambda",
            Self::TencentScf => "tencent-scf",
            Self::CloudRun => "cloud-run",
            Self::AzureContainerApps => "azure-container-apps",
            Self::CloudflareWorkers => "cloudflare-workers",
        }
    }

    /// The port that the platform connects to, unless `PORT` or one of [`port_variables`](Self::port_variables) says another.
    pub fn port(self) -> Option<u16> {
        match self {
            Self::AliyunFc | Self::TencentScf => Some(9000),
            Self::CloudRun | Self::AzureContainerApps => Some(8080),
            Self::Server | Self::AwsLambda | Self::CloudflareWorkers => None,
        }
    }

    /// The variables in which the platform says to which port it was told to connect: `customRuntimeConfig` and
    /// `customContainerConfig` of Aliyun FC, the target port of Azure Container Apps.
    pub fn port_variables(self) -> &'static [&'static str] {
        match self {
            Self::AliyunFc => &["FC_SERVER_PORT", "FC_CUSTOM_LISTEN_PORT"],
            Self::AzureContainerApps => &["CONTAINER_APP_PORT"],
            Self::Server | Self::AwsLambda | Self::TencentScf | Self::CloudRun | Self::CloudflareWorkers => &[],
        }
    }

    /// Whether clients reach us through the platform's own HTTPS, of which nothing is left when we are asked. A Worker
    /// is told which scheme it was.
    pub fn is_https(self) -> bool {
        !matches!(self, Self::Server | Self::CloudflareWorkers)
    }

    /// Whether it gives the client's address outside of the request's headers: then the client itself may have written
    /// `X-Forwarded-For`. Function URLs cut that header to its leftmost address, which the client wrote.
    pub fn names_client(self) -> bool {
        matches!(self, Self::AwsLambda | Self::CloudflareWorkers)
    }

    /// Whether the disk is small and does not outlive the instance: then a cache lies in `/tmp`, and is small.
    pub fn is_ephemeral(self) -> bool {
        self != Self::Server
    }

    /// Whether the process runs between requests, too. Elsewhere a timer of the platform begins what has its time.
    pub fn runs_by_itself(self) -> bool {
        matches!(self, Self::Server | Self::AzureContainerApps)
    }

    /// Whether its timers call by HTTP, as anybody could.
    pub fn has_timer_by_http(self) -> bool {
        matches!(self, Self::AliyunFc | Self::TencentScf | Self::CloudRun)
    }

    /// What it can do. Sources and dates: docs/reference/platforms.md.
    pub fn capabilities(self) -> Capabilities {
        let none = Capabilities {
            profile: self,
            shares_io: true,
            max_inline_body: None,
            max_streamed_body: None,
            max_target: None,
            max_response_headers: 64 << 10,
            streams_need_chunked: false,
            head_length_reliable: true,
            passes_empty: true,
            breaks_chunked: true,
            can_challenge: true,
            outlives_response: true,
            max_scratch: None,
            ingest: IngestMode::Never,
        };
        match self {
            Self::Server | Self::AzureContainerApps => none,
            Self::AliyunFc => Capabilities {
                max_inline_body: Some(6_000_000),
                // Both documented in KB: the smaller reading.
                max_target: Some(4000),
                max_response_headers: 8000,
                streams_need_chunked: true,
                head_length_reliable: false,
                outlives_response: false,
                ..none
            },
            Self::AwsLambda => Capabilities {
                // Streamed as well; what lies behind the first 6 MB comes at 2 MB/s.
                max_inline_body: Some(6_000_000),
                max_streamed_body: Some(200 << 20),
                streams_need_chunked: true,
                head_length_reliable: false,
                passes_empty: false,
                can_challenge: false,
                outlives_response: false,
                ingest: IngestMode::SelfInvoke,
                ..none
            },
            Self::TencentScf => Capabilities {
                // Documented as 6 MB, without a word on what else counts towards it.
                max_inline_body: Some(5_000_000),
                max_streamed_body: Some(0),
                // Documented in KB: the smaller reading.
                max_response_headers: 4000,
                head_length_reliable: false,
                outlives_response: false,
                ingest: IngestMode::InRequest,
                ..none
            },
            Self::CloudRun => Capabilities {
                max_inline_body: Some(32 << 20),
                streams_need_chunked: true,
                head_length_reliable: false,
                outlives_response: false,
                // The disk is the instance's memory, which other requests need.
                max_scratch: Some(64 << 20),
                ..none
            },
            Self::CloudflareWorkers => {
                Capabilities { shares_io: false, max_response_headers: 128 << 10, breaks_chunked: false, ..none }
            }
        }
    }
}

impl Capabilities {
    /// Whether the platform carries a body of this length: in one piece, or as a stream.
    pub fn carries(&self, length: Option<u64>) -> bool {
        let fits = |limit: Option<u64>| match (limit, length) {
            (None, _) => true,
            (Some(limit), Some(length)) => length <= limit,
            (Some(_), None) => false,
        };
        fits(self.max_inline_body) || fits(self.max_streamed_body)
    }

    /// Whether a body of this length costs no more than a small one.
    pub fn carries_well(&self, length: Option<u64>) -> bool {
        self.ingest == IngestMode::Never && self.carries(length)
            || length.is_some_and(|length| self.max_inline_body.is_none_or(|most| length <= most))
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(text: &str) -> Result<Self, UnknownProfile> {
        Self::ALL.into_iter().find(|profile| profile.name() == text).ok_or(UnknownProfile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(pairs: &[(&str, &'static str)]) -> Result<Profile, UnknownProfile> {
        Profile::detect(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| *value))
    }

    #[test]
    fn a_platform_is_known_by_its_environment() {
        for (pairs, expected) in [
            (&[][..], Profile::Server),
            (&[("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001")][..], Profile::AwsLambda),
            (&[("TENCENTCLOUD_RUNENV", "SCF")][..], Profile::TencentScf),
            (&[("TENCENTCLOUD_RUNENV", "TKE")][..], Profile::Server),
            (&[("FC_FUNCTION_NAME", "proxy")][..], Profile::AliyunFc),
            (&[("FC_SERVER_PORT", "9000")][..], Profile::AliyunFc),
            (&[("K_SERVICE", "proxy")][..], Profile::CloudRun),
            (&[("CONTAINER_APP_NAME", "proxy")][..], Profile::AzureContainerApps),
            (&[("REGISTRY_PROXY_PLATFORM", "server"), ("K_SERVICE", "proxy")][..], Profile::Server),
            (&[("REGISTRY_PROXY_PLATFORM", ""), ("K_SERVICE", "proxy")][..], Profile::CloudRun),
        ] {
            assert_eq!(detect(pairs), Ok(expected), "{pairs:?}");
        }
        assert_eq!(detect(&[("REGISTRY_PROXY_PLATFORM", "lambda")]), Err(UnknownProfile));
    }

    #[test]
    fn every_platform_has_one_name() {
        for profile in Profile::ALL {
            assert_eq!(profile.name().parse(), Ok(profile));
            assert!(UnknownProfile.to_string().contains(profile.name()));
            assert_eq!(profile.capabilities().profile, profile);
        }
    }

    #[test]
    fn a_body_goes_through_where_it_fits() {
        let scf = Profile::TencentScf.capabilities();
        assert!(scf.carries(Some(5_000_000)) && !scf.carries(Some(5_000_001)) && !scf.carries(None));
        let lambda = Profile::AwsLambda.capabilities();
        assert!(lambda.carries(Some(200 << 20)) && !lambda.carries(Some((200 << 20) + 1)));
        assert!(lambda.carries_well(Some(6_000_000)) && !lambda.carries_well(Some(6_000_001)));
        assert!(Profile::AliyunFc.capabilities().carries_well(Some(u64::MAX)));
        assert!(Profile::Server.capabilities().carries_well(None));
    }
}
