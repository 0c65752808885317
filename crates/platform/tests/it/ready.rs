//! Ready checks.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use platform::processes::StartError;
use platform::{InstanceState, PlatformError};
use test_servers::ports;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::lab::{Lab, shop, spec};

/// An address on which nobody listens just now.
fn free_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()))
}

/// Answers every request with `status` and hands out what was asked, once the process has said that it is up.
async fn serve(lab: &Lab, address: SocketAddr, status: &str, requests: tokio::sync::mpsc::Sender<String>) {
    lab.until_logged("up").await;
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4096];
        let read = stream.read(&mut head).await.unwrap();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        let _ = requests.try_send(String::from_utf8_lossy(&head[..read]).into_owned());
    }
}

#[tokio::test]
async fn ready_means_that_its_url_answers_2xx_to_our_probe() {
    let lab = Lab::new();
    let address = free_address();
    let mut spec = spec("echo up; exec sleep 600");
    spec.ready = Some(format!("http://{address}/health"));
    let (sender, mut requests) = tokio::sync::mpsc::channel(1);
    let started = tokio::select! {
        started = lab.try_start(&spec) => started.unwrap(),
        () = serve(&lab, address, "204 No Content", sender) => unreachable!(),
    };
    assert!(started.by_us && started.ready_after > Duration::ZERO);
    let head = requests.recv().await.unwrap();
    assert!(head.starts_with("GET /health HTTP/1.1\r\n"), "{head}");
    let agent = format!("user-agent: {}\r\n", platform::PROBE_USER_AGENT);
    assert!(head.to_lowercase().contains(&agent), "{head}");
}

#[tokio::test]
async fn ready_means_that_its_port_accepts() {
    let lab = Lab::new();
    let address = free_address();
    let mut spec = spec("echo up; exec sleep 600");
    spec.ready = Some(format!("tcp://{address}"));
    let listening = async {
        lab.until_logged("up").await;
        let _listener = TcpListener::bind(address).unwrap();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        started = lab.try_start(&spec) => { started.unwrap(); }
        () = listening => unreachable!(),
    }
}

#[tokio::test]
async fn not_ready_in_time_says_what_was_seen_and_printed_and_leaves_nothing() {
    let lab = Lab::new();
    let address = free_address();
    let mut spec = spec("echo up; exec sleep 600");
    spec.ready = Some(format!("http://{address}/health"));
    spec.ready_timeout = Duration::from_millis(1_500);
    let (sender, _requests) = tokio::sync::mpsc::channel(1);
    let error = tokio::select! {
        started = lab.try_start(&spec) => started.unwrap_err().to_string(),
        () = serve(&lab, address, "503 Service Unavailable", sender) => unreachable!(),
    };
    for part in
        ["process shop", "not ready within 1.5s", "503 Service Unavailable", "| up", "`ready-timeout`"]
    {
        assert!(error.contains(part), "{part:?} in {error}");
    }
    assert_eq!(lab.seen().await.state, InstanceState::Exited);
    assert!(lab.processes.members(&shop()).unwrap().is_empty());
}

#[tokio::test]
async fn ended_before_ready_says_how_with_its_last_lines() {
    let lab = Lab::new();
    let mut spec =
        spec("for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo line $i; done; echo cannot bind >&2; exit 98");
    spec.ready = Some(format!("tcp://{}", free_address()));
    let error = lab.try_start(&spec).await.unwrap_err();
    let PlatformError::Start(StartError::Exited { status, .. }) = &error else { panic!("{error}") };
    assert_eq!(status, "exit code 98");
    let text = error.to_string();
    let quotes = |line: &str| text.contains(&format!("| {line}"));
    assert!(quotes("cannot bind") && quotes("line 12") && !quotes("line 3\n"), "{text}");
}

#[tokio::test]
async fn a_stranger_on_the_port_is_not_taken_for_the_process() {
    let lab = Lab::new();
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    for scheme in ["http", "tcp"] {
        let mut spec = spec("exec sleep 600");
        spec.ready = Some(format!("{scheme}://{}", stranger.local_addr().unwrap()));
        let error = lab.try_start(&spec).await.unwrap_err();
        assert!(matches!(error, PlatformError::Start(StartError::Occupied { .. })), "{error}");
        assert!(error.to_string().contains("listening at"), "{error}");
        assert_eq!(lab.seen().await.state, InstanceState::Created, "nothing was started");
    }
}
