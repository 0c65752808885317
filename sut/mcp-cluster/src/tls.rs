//! Connections over TLS: a listener whose handshakes do not wait for each other.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Where the server's identity is, in PEM.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Its certificate, and those that lead to one that clients know.
    pub certificate: PathBuf,
    /// The key of its certificate.
    pub key: PathBuf,
}

/// Handshakes at once; who comes then waits in the system's queue.
const HANDSHAKES: usize = 1_024;
/// How long one may take.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Tls {
    /// Reads certificate and key.
    pub(crate) fn acceptor(&self) -> io::Result<TlsAcceptor> {
        let wrong = |path: &PathBuf, why: String| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("{}: {why}", path.display()))
        };
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| wrong(&self.certificate, error.to_string()))?;
        let key =
            PrivateKeyDer::from_pem_file(&self.key).map_err(|error| wrong(&self.key, error.to_string()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|error| wrong(&self.certificate, error.to_string()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// A listener whose connections are ready to be read when they are given out.
pub(crate) struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    handshakes: JoinSet<Option<(TlsStream<TcpStream>, SocketAddr)>>,
}

impl TlsListener {
    pub(crate) fn new(listener: TcpListener, acceptor: TlsAcceptor) -> Self {
        Self { listener, acceptor, handshakes: JoinSet::new() }
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            tokio::select! {
                (stream, address) = Listener::accept(&mut self.listener), if self.handshakes.len() < HANDSHAKES => {
                    let _ = stream.set_nodelay(true);
                    let handshake = self.acceptor.accept(stream);
                    self.handshakes.spawn(async move {
                        // Who does not speak TLS, or not in time, is gone: there is nobody to answer.
                        let stream = tokio::time::timeout(TIMEOUT, handshake).await.ok()?.ok()?;
                        Some((stream, address))
                    });
                }
                Some(ended) = self.handshakes.join_next() => {
                    if let Ok(Some(connection)) = ended {
                        return connection;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
