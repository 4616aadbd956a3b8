//! The platforms by name; what each can do: `platform`.

use serde::{Deserialize, Serialize};

/// The platform that we run on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Profile {
    /// A laptop, a server, a container: no limits but our own.
    #[default]
    Server,
    /// Aliyun Function Compute 3.0, custom runtime.
    AliyunFc,
    /// AWS Lambda behind a Function URL that streams.
    AwsLambda,
    /// Tencent SCF, web function.
    TencentScf,
    /// Google Cloud Run, over HTTP/1.1.
    CloudRun,
    /// Azure Container Apps.
    AzureContainerApps,
    /// Cloudflare Workers.
    CloudflareWorkers,
}
