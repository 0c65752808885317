//! TLS towards targets.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use plan::model::Tls;
use prober::{Client, Kind, connector};
use service::{OnError, Shutdown, Tasks};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A TLS server for the name `shop.test` that answers one request a connection; its certificate is in the file.
async fn secure(dir: &Path) -> (std::net::SocketAddr, PathBuf, Tasks) {
    let made = rcgen::generate_simple_self_signed(["shop.test".to_owned()]).unwrap();
    let file = dir.join("ca.pem");
    std::fs::write(&file, made.cert.pem()).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = Tasks::new(Shutdown::new());
    tasks.spawn("server", OnError::Log, async move {
        loop {
            let (stream, _) = listener.accept().await?;
            // A client that does not trust us ends the handshake.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await?;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").await?;
            stream.shutdown().await?;
        }
        #[expect(unreachable_code, reason = "names the error type")]
        Ok::<(), std::io::Error>(())
    });
    (address, file, tasks)
}

#[tokio::test]
async fn tls_is_as_the_plan_says() {
    let dir = tempfile::TempDir::new().unwrap();
    let (address, file, _tasks) = secure(dir.path()).await;
    let url = format!("https://{address}/");
    let get = async |tls: &Tls| {
        let connector = connector(tls, dir.path()).unwrap();
        Client::new(&url, &connector).get().await.map(|answer| (answer.status, answer.body))
    };
    let good = Ok((200, b"ok".to_vec()));
    let relative = file.file_name().map(PathBuf::from);
    let trusted = Tls { ca: relative, server_name: Some("shop.test".into()), ..Tls::default() };
    assert_eq!(get(&trusted).await, good);
    let other_name = Tls { server_name: Some("other.test".into()), ..trusted.clone() };
    let failure = get(&other_name).await.unwrap_err();
    assert_eq!(failure.kind, Kind::Tls);
    assert!(failure.seen.starts_with("TLS handshake with 127.0.0.1"), "{failure}");
    let insecure = Tls { insecure: true, ..Tls::default() };
    assert_eq!(get(&insecure).await, good);
    // A kept connection that the server has closed is replaced.
    let mut client = Client::new(&url, &connector(&trusted, dir.path()).unwrap());
    for _ in 0..3 {
        assert_eq!(client.get().await.map(|answer| answer.status), Ok(200));
    }
    let missing = Tls { ca: Some("none.pem".into()), ..Tls::default() };
    assert!(connector(&missing, dir.path()).unwrap_err().contains("none.pem"));
}
