//! Health of servers that answer, refuse, are silent, break off.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prober::{Check, Connector, Expects, Kind};
use service::{OnError, Shutdown, Tasks};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};

/// A server that says this to every connection and closes it; `None` = nothing, and it stays open. Keeps what it was asked.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: Tasks,
}

async fn server(says: Option<&'static str>) -> Server {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = Arc::clone(&asked);
    let tasks = Tasks::new(Shutdown::new());
    tasks.spawn("server", OnError::Log, async move {
        let mut held = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await?;
            let Some(says) = says else {
                held.push(stream);
                continue;
            };
            let mut request = [0; 1_024];
            let length = stream.read(&mut request).await?;
            heard.lock().unwrap().push(String::from_utf8_lossy(&request[..length]).into_owned());
            stream.write_all(says.as_bytes()).await?;
        }
        #[expect(unreachable_code, reason = "names the error type")]
        Ok::<(), std::io::Error>(())
    });
    Server { address, asked, _tasks: tasks }
}

fn check(url: &str) -> Check {
    Check {
        url: url.to_owned(),
        expects: Expects::Success,
        connector: Connector::Broken("no TLS here".to_owned()),
        by: None,
        timeout: Duration::from_secs(10),
    }
}

#[tokio::test]
async fn a_status_is_good_or_not_by_what_is_expected() {
    for (says, success, alive) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", true, true),
        ("HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n", true, true),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", false, true),
        ("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", false, false),
    ] {
        let server = server(Some(says)).await;
        for (expects, good) in [(Expects::Success, success), (Expects::Alive, alive)] {
            let check = Check { expects, ..check(&format!("http://{}/", server.address)) };
            match check.look().await {
                Ok(healthy) => assert!(good && healthy.status.is_some(), "{says} {expects:?}"),
                Err(failure) => {
                    assert!(!good && failure.kind == Kind::Unhealthy, "{says} {expects:?}: {failure:?}");
                    assert!(failure.seen.starts_with("answered "), "{failure}");
                }
            }
        }
    }
}

#[tokio::test]
async fn the_kinds_of_failures_are_told_apart() {
    // Nobody listens where somebody just stopped to.
    let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    let (silent, broken, odd) =
        (server(None).await, server(Some("")).await, server(Some("hello\r\n\r\n")).await);
    let quick = Duration::from_millis(300);
    let look = async |url: String, timeout| Check { timeout, ..check(&url) }.look().await;
    let long = Duration::from_secs(10);
    for (url, timeout, kind) in [
        (format!("http://{gone}/"), long, Kind::Refused),
        (format!("tcp://{gone}"), long, Kind::Refused),
        (format!("http://{}/", silent.address), quick, Kind::Silent),
        (format!("http://{}/", broken.address), long, Kind::Broken),
        (format!("http://{}/", odd.address), long, Kind::Broken),
        (format!("https://{}/", silent.address), long, Kind::NotAsked),
    ] {
        let failure = look(url.clone(), timeout).await.unwrap_err();
        assert_eq!(failure.kind, kind, "{url}: {failure}");
    }
    assert_eq!(look(format!("tcp://{}", silent.address), long).await.unwrap().status, None);
}

#[tokio::test]
async fn the_way_by_another_address_keeps_the_targets_name() {
    let server = server(Some("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")).await;
    let check = Check { by: Some(server.address.to_string()), ..check("http://shop.test:8080/health") };
    assert_eq!(check.look().await.unwrap().status, Some(200));
    let asked = server.asked.lock().unwrap().concat();
    assert!(asked.starts_with("GET /health HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("\r\nhost: shop.test:8080\r\n"), "{asked}");
    assert!(asked.contains(&format!("\r\nuser-agent: {}\r\n", platform::PROBE_USER_AGENT)), "{asked}");
}

#[tokio::test]
async fn a_target_on_a_unix_socket_is_asked_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let here = Check { by: Some(format!("unix:{}", path.display())), ..check("http://shop/health") };
    assert_eq!(here.look().await.unwrap_err().kind, Kind::Unreachable);
    let listener = UnixListener::bind(&path).unwrap();
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1_024];
        let length = stream.read(&mut request).await.unwrap();
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    };
    let (seen, asked) = tokio::join!(here.look(), serve);
    assert_eq!(seen.unwrap().status, Some(204));
    assert!(asked.starts_with("GET /health ") && asked.contains("host: shop\r\n"), "{asked}");
}

#[tokio::test]
async fn a_target_behind_a_proxy_is_asked_through_it() {
    let proxy = server(Some("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")).await;
    let through = |url| Check { by: Some(format!("proxy:{}", proxy.address)), ..check(url) };
    assert_eq!(through("http://shop:81/health?a=b").look().await.unwrap().status, Some(200));
    let asked = proxy.asked.lock().unwrap().remove(0);
    assert!(asked.starts_with("GET http://shop:81/health?a=b HTTP/1.1\r\n"), "{asked}");
    // The tunnel is made, and what is at its other end does not speak TLS.
    let failure = through("https://shop/health").look().await.unwrap_err();
    assert!(matches!(failure.kind, Kind::Tls | Kind::NotAsked), "{failure:?}");
    let asked = proxy.asked.lock().unwrap().remove(0);
    assert!(asked.starts_with("CONNECT shop:443 HTTP/1.1\r\nHost: shop:443\r\n"), "{asked}");
    let known = |url| Check { by: Some(format!("proxy:me:s%20t@{}", proxy.address)), ..check(url) };
    assert_eq!(known("http://shop/").look().await.unwrap().status, Some(200));
    let failure = known("https://shop/").look().await.unwrap_err();
    assert!(!failure.seen.contains("s%20t"), "{failure:?}");
    for asked in proxy.asked.lock().unwrap().drain(..) {
        let asked = asked.to_lowercase();
        assert!(asked.contains("\r\nproxy-authorization: basic bwu6cyb0\r\n"), "{asked}");
    }
    let refuses = server(Some("HTTP/1.1 403 Forbidden\r\n\r\n")).await;
    let through = Check { by: Some(format!("proxy:{}", refuses.address)), ..check("https://shop/health") };
    let failure = through.look().await.unwrap_err();
    assert!(failure.kind == Kind::Unreachable && failure.seen.contains("403"), "{failure:?}");
}
