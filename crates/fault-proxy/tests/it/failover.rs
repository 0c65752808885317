//! A proxy is led to another upstream while clients connect.

use fault_proxy::client::Client;
use fault_proxy::toxic::{Attributes, LimitData, Stream};
use fault_proxy::{ProxyInput, ToxicInput};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::program::{PATIENCE, Program};
use crate::upstream::Upstream;

/// A server that says who it is when it is asked.
async fn named(name: u8) -> Upstream {
    Upstream::start(move |mut socket| async move {
        while let Ok(1..) = socket.read(&mut [0; 1]).await {
            if socket.write_all(&[name]).await.is_err() {
                return;
            }
        }
    })
    .await
}

/// Who is at the other end; `None` = the connection was closed.
async fn who(socket: &mut TcpStream) -> Option<u8> {
    let mut name = [0];
    socket.write_all(b"?").await.ok()?;
    let read = tokio::time::timeout(PATIENCE, socket.read(&mut name)).await.unwrap();
    read.is_ok_and(|bytes| bytes == 1).then_some(name[0])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_upstream_keeps_the_port_open_and_closes_what_led_to_the_old_one() {
    // More threads than the default, so that connections begin while the change is made.
    let program = Program::start(&["--threads", "4"]);
    let (first, second) = (named(b'1').await, named(b'2').await);
    let client = program.client();
    let shop = client.create_proxy(&ProxyInput::new("shop", &first.address)).await.unwrap();
    let mut old = TcpStream::connect(&shop.listen).await.unwrap();
    assert_eq!(who(&mut old).await, Some(b'1'));

    for turn in 0..20 {
        let to = if turn % 2 == 0 { &second } else { &first };
        let changed = async {
            let view = client.set_upstream("shop", &to.address).await.unwrap();
            assert_eq!((&view.listen, &view.upstream, view.enabled), (&shop.listen, &to.address, true));
        };
        let mut begun = Vec::new();
        let connecting = async {
            for _ in 0..20 {
                // Never refused: the port stays open throughout.
                begun.push(TcpStream::connect(&shop.listen).await.unwrap());
            }
        };
        tokio::join!(connecting, changed);
        let expected = if turn % 2 == 0 { b'2' } else { b'1' };
        for socket in &mut begun {
            let found = who(socket).await;
            assert!(found.is_none_or(|name| name == expected), "turn {turn}: {found:?} is the old one");
        }
        let mut new = TcpStream::connect(&shop.listen).await.unwrap();
        assert_eq!(who(&mut new).await, Some(expected));
    }
    assert_eq!(who(&mut old).await, None, "it led to the first upstream");
    assert_eq!(client.counters().await.unwrap().proxies["shop"].unreachable, 0);
}

#[tokio::test]
async fn the_same_upstream_closes_nothing() {
    let (program, upstream) = (Program::start(&[]), named(b'1').await);
    let client = program.client();
    let shop = client.create_proxy(&ProxyInput::new("shop", &upstream.address)).await.unwrap();
    let mut socket = TcpStream::connect(&shop.listen).await.unwrap();
    assert_eq!(who(&mut socket).await, Some(b'1'));
    client.set_upstream("shop", &upstream.address).await.unwrap();
    assert_eq!(who(&mut socket).await, Some(b'1'));
}

#[tokio::test]
async fn a_disabled_proxy_stays_so_and_opens_to_the_new_upstream() {
    let (program, upstream) = (Program::start(&[]), named(b'2').await);
    let client: Client = program.client();
    let shop = client.create_proxy(&ProxyInput::new("shop", "127.0.0.1:1")).await.unwrap();
    client.set_enabled("shop", false).await.unwrap();
    assert!(!client.set_upstream("shop", &upstream.address).await.unwrap().enabled);
    let refused = TcpStream::connect(&shop.listen).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(client.set_enabled("shop", true).await.unwrap().listen, shop.listen);
    let mut socket = TcpStream::connect(&shop.listen).await.unwrap();
    assert_eq!(who(&mut socket).await, Some(b'2'));
}

#[tokio::test]
async fn a_toxic_for_one_upstream_does_not_follow_to_another() {
    let (program, first, second) = (Program::start(&[]), named(b'1').await, named(b'2').await);
    let client = program.client();
    let shop = client.create_proxy(&ProxyInput::new("shop", &first.address)).await.unwrap();
    let cut = ToxicInput::new("cut", &Attributes::LimitData(LimitData { bytes: 0 })).on(Stream::Both);
    let added = client.add_toxic("shop", &cut.only_for(&first.address)).await.unwrap();
    assert_eq!(added.upstream.as_ref(), Some(&first.address));
    for (to, found) in [(&first, None), (&second, Some(b'2')), (&first, None)] {
        client.set_upstream("shop", &to.address).await.unwrap();
        let mut socket = TcpStream::connect(&shop.listen).await.unwrap();
        assert_eq!(who(&mut socket).await, found);
    }
    // Connections that lead elsewhere have nothing to do with it.
    let draws = client.draws("shop").await.unwrap();
    assert_eq!(draws.connections.iter().map(|connection| connection.number).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(client.toxics("shop").await.unwrap(), [added], "it is there all the time");
}
