//! TLS towards targets.

use std::path::PathBuf;

use plan::model::Tls;
use prober::{Client, Kind, connector};
use test_servers::tls::Secure;

#[tokio::test]
async fn tls_is_as_the_plan_says() {
    let dir = tempfile::TempDir::new().unwrap();
    let server = Secure::start(dir.path()).await;
    let url = format!("https://{}/", server.address);
    let get = async |tls: &Tls| {
        let connector = connector(tls, dir.path()).unwrap();
        Client::new(&url, &connector).get().await.map(|answer| (answer.status, answer.body))
    };
    let good = Ok((200, b"ok".to_vec()));
    let relative = server.ca.file_name().map(PathBuf::from);
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
