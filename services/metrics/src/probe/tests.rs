//! Reading what targets expose.

use std::path::PathBuf;
use std::sync::Arc;

use plan::model::Tls;
use service::{OnError, Shutdown, Tasks};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::client::Client;
use super::text::{Sample, parse, sums};
use super::tls::connector;

fn sample(name: &str, instance: &str, value: f64) -> Sample<'static> {
    Sample { name: name.to_owned().leak(), instance: instance.into(), value }
}

#[test]
fn the_text_format_is_read() {
    let text = "# HELP a Something {odd} \"here\"\n\
                # TYPE a counter\n\
                a 1\n\
                a_total{path=\"/x,y}=\\\"z\\\"\\n\",instance=\"10.0.0.1:80\"} 2.5e3 1700000000000\n\
                \n\
                b{} +Inf\n\
                c{instance = \"i\" , } NaN # {trace=\"x\"} 1\n\
                d{le=\"0.5\",} -3\r\n\
                # EOF\n";
    let samples = parse(text).unwrap();
    let expected = [
        sample("a", "", 1.0),
        sample("a_total", "10.0.0.1:80", 2_500.0),
        sample("b", "", f64::INFINITY),
        sample("c", "i", f64::NAN),
        sample("d", "", -3.0),
    ];
    assert_eq!(samples.len(), expected.len());
    for (found, expected) in samples.iter().zip(&expected) {
        assert_eq!((found.name, &found.instance), (expected.name, &expected.instance));
        assert!(found.value.total_cmp(&expected.value).is_eq(), "{found:?}");
    }
}

#[test]
fn lines_that_are_none_are_named() {
    for (text, expected) in [
        ("a 1\nb\n", "line 2: b has no value"),
        ("a one\n", "line 1: a has the value \"one\", expected a number"),
        ("{x=\"y\"} 1\n", "line 1: expected a metric name"),
        ("a{x=\"y\" 1\n", "line 1: labels without an end"),
        ("a{x=\"y} 1\n", "line 1: a label value without an end"),
        ("a{x=y} 1\n", "line 1: a label value without quotes"),
    ] {
        assert_eq!(parse(text).unwrap_err(), expected, "{text:?}");
    }
}

#[test]
fn sums_are_by_instance_and_a_counter_needs_no_suffix() {
    let samples = [
        sample("hits_total", "b", 1.0),
        sample("hits_total", "a", 2.0),
        sample("hits_total", "a", 3.0),
        sample("hits_total", "a", f64::NAN),
        sample("other", "", 9.0),
    ];
    let expected = vec![("a".to_owned(), 5.0), ("b".to_owned(), 1.0)];
    assert_eq!(sums(&samples, "hits_total"), expected);
    assert_eq!(sums(&samples, "hits"), expected);
    assert_eq!(sums(&samples, "hit"), Vec::new());
    assert_eq!(sums(&samples, "other"), vec![(String::new(), 9.0)]);
}

/// A TLS server for the name `shop.test` that answers one request a connection; its certificate is in the file.
async fn secure(dir: &std::path::Path) -> (std::net::SocketAddr, PathBuf, Tasks) {
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
    let listener = tokio::net::TcpListener::bind(crate::endpoint::ANY).await.unwrap();
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
    assert!(get(&other_name).await.unwrap_err().starts_with("TLS handshake with 127.0.0.1"));
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
