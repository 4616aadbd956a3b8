//! Parses the address of an object store in `cache.store`: cloud, bucket, prefix and endpoints.

use opendal::Operator;
use registry_proxy_core::platform::StoreError;
use url::Url;

/// The cloud that runs the bucket, by its API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cloud {
    S3,
    Oss,
    Cos,
    Obs,
    Gcs,
    Azblob,
}

/// A parsed address.
#[derive(Debug, Clone)]
pub(super) struct BucketAddress {
    pub(super) cloud: Cloud,
    /// The bucket, or Azure's container.
    pub(super) bucket: String,
    pub(super) root: String,
    pub(super) region: String,
    /// Endpoint for our own traffic; empty: the cloud's default.
    pub(super) endpoint: String,
    /// Endpoint for links given to clients.
    pub(super) public_endpoint: Option<Url>,
    /// Whether S3's bucket is in the host name instead of the path.
    pub(super) is_virtual_host: bool,
}

impl BucketAddress {
    /// Parses an address. Unknown parameters are errors.
    pub(super) fn parse(url: &Url, variable: impl Fn(&str) -> Option<String>) -> Result<Self, StoreError> {
        let (cloud, allowed): (_, &[&str]) = match url.scheme() {
            "s3" => (Cloud::S3, &["region", "endpoint", "public_endpoint", "addressing"]),
            "oss" => (Cloud::Oss, &["region", "endpoint", "public_endpoint"]),
            "cos" => (Cloud::Cos, &["region", "endpoint", "public_endpoint"]),
            "obs" => (Cloud::Obs, &["region", "endpoint"]),
            "gcs" => (Cloud::Gcs, &["endpoint"]),
            "azblob" => (Cloud::Azblob, &["account", "endpoint"]),
            other => return Err(wrong(format!("{other}: expected s3, oss, cos, obs, gcs or azblob"))),
        };
        let bucket = url.host_str().unwrap_or_default();
        let mut given = std::collections::BTreeMap::new();
        for (name, value) in url.query_pairs() {
            if !allowed.contains(&&*name) || value.is_empty() {
                return Err(wrong(format!("{name}: expected {}, with a value", allowed.join(" or "))));
            }
            let value = value.trim_end_matches('/');
            let value = if name.ends_with("endpoint") { endpoint_of(cloud, &name, value, bucket)? } else { value };
            given.insert(name.into_owned(), value.to_owned());
        }
        let is_virtual_host = match given.remove("addressing").as_deref() {
            None | Some("path") => false,
            Some("virtual") => true,
            Some(other) => return Err(wrong(format!("addressing={other}: expected path or virtual"))),
        };
        let region = given.remove("region");
        let named = given.remove("endpoint");
        let account = given.remove("account");
        let address = Self {
            cloud,
            bucket: bucket.to_owned(),
            root: url.path().to_owned(),
            region: String::new(),
            endpoint: String::new(),
            public_endpoint: given.get("public_endpoint").and_then(|text| endpoint(text)),
            is_virtual_host,
        };
        address.with_endpoint(region, named, account, variable)
    }

    /// Derives a missing region or endpoint from the other.
    fn with_endpoint(
        self,
        region: Option<String>,
        endpoint: Option<String>,
        account: Option<String>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, StoreError> {
        let needs = |what: &str| wrong(format!("{what} is missing"));
        let given = endpoint.clone().unwrap_or_default();
        let (region, endpoint) = match self.cloud {
            Cloud::S3 => {
                let known = || variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
                // Servers other than Amazon's accept any region.
                (region.or_else(known).unwrap_or_else(|| "us-east-1".to_owned()), given)
            }
            Cloud::Oss => {
                let region = region.or_else(|| oss_region(&given)).ok_or_else(|| needs("region"))?;
                let own = format!("https://oss-{region}.aliyuncs.com");
                (region, endpoint.unwrap_or(own))
            }
            Cloud::Cos => {
                let own = region.as_ref().map(|region| format!("https://cos.{region}.myqcloud.com"));
                (region.unwrap_or_default(), endpoint.or(own).ok_or_else(|| needs("region"))?)
            }
            Cloud::Obs => {
                let own = region.as_ref().map(|region| format!("https://obs.{region}.myhuaweicloud.com"));
                (region.unwrap_or_default(), endpoint.or(own).ok_or_else(|| needs("region"))?)
            }
            Cloud::Gcs => (String::new(), given),
            Cloud::Azblob => {
                let account = account.or_else(|| variable("AZURE_STORAGE_ACCOUNT_NAME"));
                let own = account.map(|account| format!("https://{account}.blob.core.windows.net"));
                (String::new(), endpoint.or(own).ok_or_else(|| needs("account"))?)
            }
        };
        Ok(Self { region, endpoint, ..self })
    }

    /// The address that is asked: the given endpoint, or else the cloud's own.
    pub(super) fn asked_at(&self) -> Option<Url> {
        let own = match self.cloud {
            Cloud::S3 => {
                let country = if self.region.starts_with("cn-") { ".cn" } else { "" };
                format!("https://s3.{}.amazonaws.com{country}", self.region)
            }
            Cloud::Gcs => "https://storage.googleapis.com".to_owned(),
            // These are never without one.
            Cloud::Oss | Cloud::Cos | Cloud::Obs | Cloud::Azblob => String::new(),
        };
        Url::parse(if self.endpoint.is_empty() { &own } else { &self.endpoint }).ok()
    }

    /// The same bucket at the endpoint for clients, if the signature covers the endpoint.
    pub(super) fn public(&self) -> Option<Self> {
        let public = self.public_endpoint.as_ref().filter(|_| self.cloud == Cloud::S3)?;
        let endpoint = public.as_str().trim_end_matches('/').to_owned();
        Some(Self { endpoint, public_endpoint: None, ..self.clone() })
    }

    /// Scheme and host of links, if the signature does not cover the endpoint: the bucket's host, or the user's own domain for
    /// the bucket.
    pub(super) fn public_host(&self) -> Option<(String, String)> {
        let public = self.public_endpoint.as_ref().filter(|_| self.cloud != Cloud::S3)?;
        let host = public.host_str()?;
        let is_vendors =
            [".aliyuncs.com", ".myqcloud.com", ".tencentcos.cn"].iter().any(|domain| host.ends_with(domain));
        let is_bucketless = is_vendors && !host.starts_with(&format!("{}.", self.bucket));
        let host = if is_bucketless { format!("{}.{host}", self.bucket) } else { host.to_owned() };
        let port = public.port().map(|port| format!(":{port}")).unwrap_or_default();
        Some((public.scheme().to_owned(), host + &port))
    }

    /// The operator that builds requests, without signing them where that is possible.
    pub(super) fn operator(&self) -> Result<Operator, opendal::Error> {
        let (bucket, root, endpoint) = (&*self.bucket, &*self.root, &*self.endpoint);
        match self.cloud {
            #[cfg(feature = "s3")]
            Cloud::S3 => {
                let service = opendal::services::S3::default().bucket(bucket).root(root).region(&self.region);
                let service = if endpoint.is_empty() { service } else { service.endpoint(endpoint) };
                let service = if self.is_virtual_host { service.enable_virtual_host_style() } else { service };
                Operator::new(service.skip_signature())
            }
            #[cfg(feature = "oss")]
            Cloud::Oss => {
                let service = opendal::services::Oss::default().bucket(bucket).root(root).endpoint(endpoint);
                Operator::new(service.skip_signature())
            }
            #[cfg(feature = "cos")]
            Cloud::Cos => {
                // It always signs; we replace the signature.
                let service = opendal::services::Cos::default().bucket(bucket).root(root).endpoint(endpoint);
                Operator::new(service.secret_id("-").secret_key("-").disable_config_load())
            }
            #[cfg(feature = "obs")]
            Cloud::Obs => {
                let service = opendal::services::Obs::default().bucket(bucket).root(root).endpoint(endpoint);
                Operator::new(service.access_key_id("-").secret_access_key("-"))
            }
            #[cfg(feature = "gcs")]
            Cloud::Gcs => {
                let service = opendal::services::Gcs::default().bucket(bucket).root(root);
                Operator::new(if endpoint.is_empty() { service } else { service.endpoint(endpoint) })
            }
            #[cfg(feature = "azblob")]
            Cloud::Azblob => {
                Operator::new(opendal::services::Azblob::default().container(bucket).root(root).endpoint(endpoint))
            }
            #[cfg(not(all(
                feature = "s3",
                feature = "oss",
                feature = "cos",
                feature = "obs",
                feature = "gcs",
                feature = "azblob"
            )))]
            _ => {
                Err(opendal::Error::new(opendal::ErrorKind::Unsupported, "this build does not include that store"))
            }
        }
    }
}

fn wrong(what: String) -> StoreError {
    StoreError::failed(what)
}

/// Removes the bucket from the end of an endpoint: dashboards of R2 and others include it, and with it every key would be
/// below a second bucket and nothing could be listed. Any other path is an error.
fn endpoint_of<'a>(cloud: Cloud, name: &str, text: &'a str, bucket: &str) -> Result<&'a str, StoreError> {
    let url = endpoint(text).ok_or_else(|| wrong(format!("{name}: expected https://host or http://host")))?;
    match url.path() {
        "" | "/" => Ok(text),
        // Azure's emulator has the account in the path.
        _ if cloud == Cloud::Azblob => Ok(text),
        path if path.strip_prefix('/') == Some(bucket) => {
            Ok(text.strip_suffix(bucket).unwrap_or(text).trim_end_matches('/'))
        }
        path => Err(wrong(format!(
            "{name}: expected a host without a path, found {path}; write a prefix after the bucket: {bucket}/prefix"
        ))),
    }
}

fn endpoint(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_bare = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    (matches!(url.scheme(), "http" | "https") && url.has_host() && is_bare).then_some(url)
}

/// `cn-hangzhou` of `https://oss-cn-hangzhou-internal.aliyuncs.com`.
fn oss_region(endpoint: &str) -> Option<String> {
    let url = Url::parse(endpoint).ok()?;
    let region = url.host_str()?.strip_suffix(".aliyuncs.com")?.strip_prefix("oss-")?;
    Some(region.strip_suffix("-internal").unwrap_or(region).to_owned())
}
