//! TLS: our certificate towards clients, and the certificates we trust from upstreams.

use std::sync::{Arc, OnceLock};

use registry_proxy_core::Config;
use registry_proxy_core::config::{ConfigError, UpstreamConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};

fn wrong(place: &str, path: &str, what: impl std::fmt::Display) -> ConfigError {
    ConfigError { place: place.to_owned(), what: format!("{path}: {what}") }
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())))
}

/// Checks that every certificate and key in the configuration can be read.
pub(crate) fn check(config: &Config) -> Result<(), ConfigError> {
    server(config)?;
    for (index, upstream) in config.upstream.iter().enumerate() {
        if upstream.ca_file.is_some() || upstream.client_cert_file.is_some() {
            client(upstream, true).map_err(|error| {
                let key = error.place.trim_start_matches("upstream");
                ConfigError { place: format!("upstream[{index}]{key}"), what: error.what }
            })?;
        }
    }
    Ok(())
}

/// TLS towards clients; `None`: we serve plain HTTP.
pub(crate) fn server(config: &Config) -> Result<Option<Arc<ServerConfig>>, ConfigError> {
    let (Some(cert), Some(key)) = (&config.tls.cert_file, &config.tls.key_file) else { return Ok(None) };
    let chain = certificates("tls.cert_file", cert)?;
    let key_der = private_key("tls.key_file", key)?;
    let mut server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key_der))
        .map_err(|error| wrong("tls", cert, error))?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // The tickets carry the sessions. Without them rustls keeps 256 sessions in memory, under a lock, for all clients.
    server.ticketer = rustls::crypto::ring::Ticketer::new().map_err(|error| wrong("tls", cert, error))?;
    Ok(Some(Arc::new(server)))
}

/// TLS towards one upstream: trusts the system's roots and the upstream's own, or any certificate with `insecure`. On the
/// upstream's own addresses (`is_own`) it presents a client certificate, if one is configured. All upstreams without settings of
/// their own share one.
pub(crate) fn client(upstream: &UpstreamConfig, is_own: bool) -> Result<Arc<ClientConfig>, ConfigError> {
    static SHARED: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let is_special = upstream.ca_file.is_some()
        || is_own
            && (upstream.insecure || upstream.client_cert_file.is_some() || upstream.client_key_file.is_some());
    if is_special {
        return build_client(upstream, is_own).map(Arc::new);
    }
    if let Some(shared) = SHARED.get() {
        return Ok(Arc::clone(shared));
    }
    let built = Arc::new(build_client(upstream, is_own)?);
    Ok(Arc::clone(SHARED.get_or_init(|| built)))
}

fn build_client(upstream: &UpstreamConfig, is_own: bool) -> Result<ClientConfig, ConfigError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong("upstream", &upstream.name, error))?;
    let builder = if upstream.insecure && is_own {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate(provider())))
    } else {
        let mut roots = Arc::clone(system_roots());
        if let Some(path) = &upstream.ca_file {
            let more = Arc::make_mut(&mut roots);
            for certificate in certificates("upstream.ca_file", path)? {
                more.add(certificate).map_err(|error| wrong("upstream.ca_file", path, error))?;
            }
        }
        builder.with_root_certificates(roots)
    };
    match (&upstream.client_cert_file, &upstream.client_key_file) {
        (Some(cert), Some(key)) if is_own => {
            let chain = certificates("upstream.client_cert_file", cert)?;
            let key = private_key("upstream.client_key_file", key)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| wrong("upstream.client_cert_file", cert, error))
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

/// The system's root certificates; Mozilla's built-in ones if the system has none (an image from scratch).
fn system_roots() -> &'static Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Arc::new(roots)
    })
}

pub(crate) fn certificates(place: &str, path: &str) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(crate::files::expand(path))
        .map_err(|error| wrong(place, path, error))?
        .collect();
    let chain = chain.map_err(|error| wrong(place, path, error))?;
    if chain.is_empty() { Err(wrong(place, path, "holds no certificate")) } else { Ok(chain) }
}

fn private_key(place: &str, path: &str) -> Result<PrivateKeyDer<'static>, ConfigError> {
    PrivateKeyDer::from_pem_file(crate::files::expand(path)).map_err(|error| wrong(place, path, error))
}

/// Accepts any certificate: for `insecure = true`. Handshake signatures are still checked.
#[derive(Debug)]
struct AcceptAnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
