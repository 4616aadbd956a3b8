//! What each platform allows: data. Sources and dates are in docs/reference/platforms.md.

use std::time::Duration;

const KIB: usize = 1 << 10;
const MB: u64 = 1_000_000;
const MIB: u64 = 1 << 20;

/// One platform's rules. `None`: no limit.
#[derive(Debug, Clone)]
pub struct Rules {
    /// What reports call it.
    pub name: &'static str,
    /// The environment in which it starts the function.
    pub environment: &'static [(&'static str, &'static str)],
    /// A request's path and query.
    pub target: Option<usize>,
    /// Names and values of a request's headers.
    pub request_headers: Option<usize>,
    /// A request's body.
    pub request_body: Option<u64>,
    /// Names and values of an answer's headers.
    pub answer_headers: Option<usize>,
    /// A body that says its length.
    pub whole_body: Option<u64>,
    /// A body that does not.
    pub streamed_body: Option<u64>,
    /// Whether an answer is taken whole before the client gets any of it.
    pub buffers: bool,
    /// So many bytes at full speed, and then so many a second.
    pub throttle: Option<(u64, u64)>,
    /// What the client is told where an answer breaks a rule.
    pub refusal: u16,
    /// Headers of an answer that do not arrive. A name that ends in `*` is a prefix.
    pub drops: &'static [&'static str],
    /// Headers of an answer that arrive under another name.
    pub renames: &'static [(&'static str, &'static str)],
    /// Whether the length of a HEAD arrives.
    pub keeps_head_length: bool,
    /// What it makes of `X-Forwarded-For`.
    pub forwarded_for: ForwardedFor,
    /// Headers that it adds to requests. What begins with [`SECRET`] is nobody's but the function's.
    pub adds: &'static [(&'static str, &'static str)],
    /// How long a request may take.
    pub wall: Duration,
    /// Whether the process stands still while there is no request.
    pub freezes: bool,
}

/// What a platform makes of a request's `X-Forwarded-For`.
#[derive(Debug, Clone, Copy)]
pub enum ForwardedFor {
    /// Nothing.
    Untouched,
    /// The client's address behind what the client wrote.
    Appended,
    /// The first address alone: the client's own word, if it wrote any.
    Leftmost,
}

/// Begins every secret that a platform adds: no upstream may see it in any header.
pub const SECRET: &str = "FAKE-SECRET-OF-THE-PLATFORM";

/// Who every client is to a function: all of them are on this machine, and so is the gateway.
pub const CLIENT: &str = "198.51.100.7";

/// A server: everything passes.
pub const SERVER: Rules = Rules {
    name: "server",
    environment: &[],
    target: None,
    request_headers: None,
    request_body: None,
    answer_headers: None,
    whole_body: None,
    streamed_body: None,
    buffers: false,
    throttle: None,
    refusal: 502,
    drops: &[],
    renames: &[],
    keeps_head_length: true,
    forwarded_for: ForwardedFor::Untouched,
    adds: &[],
    wall: Duration::from_hours(24),
    freezes: false,
};

/// Tencent SCF, web function.
pub const SCF: Rules = Rules {
    name: "tencent-scf",
    environment: &[
        ("TENCENTCLOUD_RUNENV", "SCF"),
        ("TENCENTCLOUD_REGION", "ap-hongkong"),
        ("SCF_FUNCTIONNAME", "registry-proxy"),
        ("SCF_NAMESPACE", "default"),
    ],
    request_body: Some(6 * MB),
    answer_headers: Some(4_000),
    whole_body: Some(6 * MB),
    streamed_body: Some(6 * MB),
    buffers: true,
    keeps_head_length: false,
    forwarded_for: ForwardedFor::Appended,
    adds: &[
        ("x-scf-request-id", "6d1f5f5e-0000-4000-8000-000000000000"),
        ("x-scf-memory", "256"),
        ("x-scf-secret-id", "FAKE-SECRET-OF-THE-PLATFORM-id"),
        ("x-scf-secret-key", "FAKE-SECRET-OF-THE-PLATFORM-key"),
        ("x-scf-session-token", "FAKE-SECRET-OF-THE-PLATFORM-token"),
        ("x-forwarded-proto", "https"),
    ],
    wall: Duration::from_mins(15),
    freezes: true,
    ..SERVER
};

/// Aliyun FC 3.0, custom runtime.
pub const FC: Rules = Rules {
    name: "aliyun-fc",
    environment: &[
        ("FC_FUNCTION_NAME", "registry-proxy"),
        ("FC_REGION", "cn-hongkong"),
        ("FC_SERVER_PORT", "9000"),
        ("FC_FUNCTION_MEMORY_SIZE", "256"),
    ],
    target: Some(4_000),
    request_headers: Some(8_000),
    request_body: Some(32 * MB),
    answer_headers: Some(8_000),
    whole_body: Some(32 * MB),
    drops: &["connection", "date", "keep-alive", "server", "upgrade", "content-disposition", "x-fc-*"],
    keeps_head_length: false,
    forwarded_for: ForwardedFor::Appended,
    adds: &[
        ("x-fc-request-id", "1-00000000-00000000-000000000000"),
        ("x-fc-access-key-id", "FAKE-SECRET-OF-THE-PLATFORM-id"),
        ("x-fc-access-key-secret", "FAKE-SECRET-OF-THE-PLATFORM-key"),
        ("x-fc-security-token", "FAKE-SECRET-OF-THE-PLATFORM-token"),
        ("x-forwarded-proto", "https"),
    ],
    wall: Duration::from_hours(24),
    freezes: true,
    ..SERVER
};

/// Google Cloud Run, over HTTP/1.1.
pub const CLOUD_RUN: Rules = Rules {
    name: "cloud-run",
    environment: &[
        ("K_SERVICE", "registry-proxy"),
        ("K_REVISION", "registry-proxy-00001"),
        ("K_CONFIGURATION", "registry-proxy"),
    ],
    request_body: Some(32 * MIB),
    answer_headers: Some(64 * KIB),
    whole_body: Some(32 * MIB),
    refusal: 500,
    keeps_head_length: false,
    forwarded_for: ForwardedFor::Appended,
    adds: &[
        ("x-cloud-trace-context", "105445aa7843bc8bf206b12000100000/1"),
        ("x-goog-iap-jwt-assertion", "FAKE-SECRET-OF-THE-PLATFORM-token"),
        ("x-forwarded-proto", "https"),
    ],
    wall: Duration::from_hours(1),
    freezes: true,
    ..SERVER
};

/// Azure Container Apps: the ingress, Envoy, streams what it is given.
pub const AZURE: Rules = Rules {
    name: "azure-container-apps",
    environment: &[
        ("CONTAINER_APP_NAME", "registry-proxy"),
        ("CONTAINER_APP_REVISION", "registry-proxy--20mh1s9"),
        ("CONTAINER_APP_REPLICA_NAME", "registry-proxy--20mh1s9-86c8c4b497-zx9bq"),
        ("CONTAINER_APP_HOSTNAME", "registry-proxy--20mh1s9.example.westeurope.azurecontainerapps.io"),
        ("CONTAINER_APP_ENV_DNS_SUFFIX", "example.westeurope.azurecontainerapps.io"),
    ],
    forwarded_for: ForwardedFor::Appended,
    adds: &[("x-forwarded-proto", "https")],
    ..SERVER
};

/// AWS Lambda behind a Function URL that streams. The process is frozen where it asks for events, not here.
pub const LAMBDA: Rules = Rules {
    name: "aws-lambda",
    environment: &[
        ("AWS_LAMBDA_FUNCTION_NAME", "registry-proxy"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_EXECUTION_ENV", "AWS_Lambda_Image"),
        ("AWS_REGION", "us-east-1"),
        ("LAMBDA_TASK_ROOT", "/var/task"),
    ],
    request_body: Some(6 * MB),
    answer_headers: Some(1_000_000),
    streamed_body: Some(200 * MIB),
    throttle: Some((6 * MB, 2 * MB)),
    drops: &["lambda-runtime-*", "vary"],
    renames: &[
        ("www-authenticate", "x-amzn-remapped-www-authenticate"),
        ("content-length", "x-amzn-remapped-content-length"),
    ],
    keeps_head_length: false,
    forwarded_for: ForwardedFor::Leftmost,
    adds: &[
        ("x-amzn-trace-id", "Root=1-00000000-000000000000000000000000"),
        ("x-amz-security-token", "FAKE-SECRET-OF-THE-PLATFORM-token"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "443"),
    ],
    wall: Duration::from_mins(15),
    ..SERVER
};

impl Rules {
    /// `X-Forwarded-For` as the function sees it, of a client that wrote this.
    pub(super) fn forwarded_for(&self, wrote: &str) -> Option<String> {
        match (self.forwarded_for, wrote.split(',').next().unwrap_or_default().trim()) {
            (ForwardedFor::Untouched, _) => None,
            (ForwardedFor::Appended | ForwardedFor::Leftmost, "") => Some(CLIENT.to_owned()),
            (ForwardedFor::Appended, _) => Some(format!("{wrote}, {CLIENT}")),
            (ForwardedFor::Leftmost, first) => Some(first.to_owned()),
        }
    }

    /// Whether a header of an answer gets lost.
    pub(super) fn drops(&self, name: &str) -> bool {
        self.drops.iter().any(|rule| match rule.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == *rule,
        })
    }

    /// The name under which a header of an answer arrives.
    pub(super) fn renamed(&self, name: &str) -> Option<&'static str> {
        self.renames.iter().find(|(from, _)| *from == name).map(|(_, to)| *to)
    }
}
