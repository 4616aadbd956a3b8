//! A client that speaks TLS 1.3, as Go's does: it offers AES-128 first, and resumes no session.

use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::client::Resumption;
use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::http::{self, Head};
use crate::{Result, h2};

/// What is read of a socket at once: more than a record.
const SOCKET_BYTES: usize = 256 << 10;

/// Spoken within TLS.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// A certificate for 127.0.0.1 and its key, as files for servers.
pub(crate) struct Certificate {
    pub(crate) chain_file: PathBuf,
    pub(crate) key_file: PathBuf,
    der: CertificateDer<'static>,
}

impl Certificate {
    /// Creates the files in this directory.
    pub(crate) fn new(room: &Path) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.subject_alt_names = vec![SanType::IpAddress(Ipv4Addr::LOCALHOST.into())];
        let signed = params.self_signed(&key)?;
        let this =
            Self { chain_file: room.join("cert.pem"), key_file: room.join("key.pem"), der: signed.der().clone() };
        fs::write(&this.chain_file, signed.pem())?;
        fs::write(&this.key_file, key.serialize_pem())?;
        Ok(this)
    }

    /// A client that trusts only this.
    pub(crate) fn client(&self, protocol: Protocol) -> Result<Client> {
        let mut provider = default_provider();
        provider.cipher_suites =
            vec![cipher_suite::TLS13_AES_128_GCM_SHA256, cipher_suite::TLS13_AES_256_GCM_SHA384];
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone())?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        config.alpn_protocols = match protocol {
            Protocol::Http1 => vec![b"http/1.1".to_vec()],
            Protocol::Http2 => vec![b"h2".to_vec()],
        };
        Ok(Client { config: Arc::new(config), protocol })
    }
}

/// Connects as often as asked.
pub(crate) struct Client {
    config: Arc<ClientConfig>,
    protocol: Protocol,
}

/// A connection. The socket is read in larger pieces than TLS would read it.
type Stream = StreamOwned<ClientConnection, Socket>;

struct Socket {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

impl Read for Socket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.reader.read(bytes)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Client {
    /// Receives what is answered with 200, drops it, and says how many bytes it had.
    pub(crate) fn download(&self, address: SocketAddr, path: &str) -> Result<u64> {
        let mut stream = self.connect(address)?;
        match self.protocol {
            Protocol::Http1 => download(&mut stream, address, path),
            Protocol::Http2 => h2::download(&mut stream, &address.to_string(), path),
        }
    }

    /// Asks for each path once, and once more, over one connection: whatever keeps them has them afterwards.
    pub(crate) fn warm(&self, address: SocketAddr, paths: &[String]) -> Result<()> {
        let mut stream = self.connect(address)?;
        paths.iter().chain(paths).try_for_each(|path| download(&mut stream, address, path).map(drop))
    }

    fn connect(&self, address: SocketAddr) -> Result<Stream> {
        let writer = http::dial(address)?;
        let reader = BufReader::with_capacity(SOCKET_BYTES, writer.try_clone()?);
        let name = ServerName::IpAddress(address.ip().into());
        Ok(StreamOwned::new(ClientConnection::new(Arc::clone(&self.config), name)?, Socket { reader, writer }))
    }
}

fn download(stream: &mut Stream, address: SocketAddr, path: &str) -> Result<u64> {
    stream.write_all(http::request(address, path, "keep-alive").as_bytes())?;
    let head = Head::read(stream, path)?;
    let length = head.length_of_200(path)?;
    http::discard(stream, length.saturating_sub(head.arrived()))?;
    Ok(length)
}
