//! HTTPS with certificates of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::PrivateKeyDer;
use service::{OnError, Shutdown, Tasks};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A server for the name `shop.test` that answers each request with 200, one a connection. Dropped, it ends.
#[derive(Debug)]
pub struct Secure {
    /// Where it listens.
    pub address: SocketAddr,
    /// The CA of its certificate, PEM.
    pub ca: PathBuf,
    /// The certificate of clients and its key, PEM, where it wants one.
    pub client: Option<(PathBuf, PathBuf)>,
    _tasks: Tasks,
}

impl Secure {
    /// A server for all who trust its CA. Its files are put into `dir`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn start(dir: &Path) -> Self {
        Self::serve(dir, None).await
    }

    /// A server for those alone who show the client certificate.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn mutual(dir: &Path) -> Self {
        let made = certify("client.test");
        let (certificate, key) = (dir.join("client.pem"), dir.join("client-key.pem"));
        write(&certificate, &made.cert.pem());
        write(&key, &made.signing_key.serialize_pem());
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("a root");
        Self::serve(dir, Some((roots, (certificate, key)))).await
    }

    async fn serve(dir: &Path, clients: Option<(RootCertStore, (PathBuf, PathBuf))>) -> Self {
        let made = certify("shop.test");
        let ca = dir.join("ca.pem");
        write(&ca, &made.cert.pem());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS");
        let (config, client) = match clients {
            None => (config.with_no_client_auth(), None),
            Some((roots, files)) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
                (config.with_client_cert_verifier(verifier.expect("a verifier")), Some(files))
            }
        };
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let config = config.with_single_cert(vec![made.cert.der().clone()], key).expect("a certificate");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let tasks = Tasks::new(Shutdown::new());
        tasks.spawn("server", OnError::Log, async move {
            loop {
                let (stream, _) = listener.accept().await?;
                // A client that does not trust us, or that we do not, has learnt it.
                let _ = answer(&acceptor, stream).await;
            }
            #[expect(unreachable_code, reason = "names the error type")]
            Ok::<(), std::io::Error>(())
        });
        Self { address, ca, client, _tasks: tasks }
    }
}

async fn answer(acceptor: &TlsAcceptor, stream: TcpStream) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let _ = stream.read(&mut [0; 1024]).await?;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").await?;
    stream.shutdown().await
}

fn certify(name: &str) -> rcgen::CertifiedKey<rcgen::KeyPair> {
    rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate")
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("write a certificate");
}
