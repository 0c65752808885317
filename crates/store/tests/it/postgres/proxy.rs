//! A connection to the server that is cut where a test wants it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Where to cut the connection on which a transaction is committed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cut {
    /// The server never hears of it.
    BeforeCommit,
    /// The client never hears of it.
    AfterCommit,
}

/// Forwards connections, and cuts the next ones that commit.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    left: Arc<AtomicU32>,
    _task: JoinSet<()>,
}

impl Proxy {
    pub(super) async fn start(server: u16, cut: Cut) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let left = Arc::new(AtomicU32::new(0));
        let cuts = Arc::clone(&left);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let cuts = Arc::clone(&cuts);
                connections.spawn(async move {
                    let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                    forward(client, server, cut, &cuts).await;
                });
            }
        });
        Self { address, left, _task: task }
    }

    /// Cuts so many connections from now on.
    pub(super) fn cut(&self, times: u32) {
        self.left.store(times, Ordering::SeqCst);
    }

    /// How many it still has to cut.
    pub(super) fn left(&self) -> u32 {
        self.left.load(Ordering::SeqCst)
    }
}

async fn forward(mut client: TcpStream, mut server: TcpStream, cut: Cut, cuts: &AtomicU32) {
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(bytes @ 1..) = read else { return };
                let asked = &asked[..bytes];
                let commits = asked.windows(6).any(|word| word == b"COMMIT");
                let less = |left: u32| left.checked_sub(1);
                if commits && cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
                    if let Cut::AfterCommit = cut {
                        server.write_all(asked).await.unwrap();
                        // It answers when the commit is done.
                        let _ = server.read(&mut answered).await;
                    }
                    return;
                }
                if server.write_all(asked).await.is_err() { return; }
            }
            read = server.read(&mut answered) => {
                let Ok(bytes @ 1..) = read else { return };
                if client.write_all(&answered[..bytes]).await.is_err() { return; }
            }
        }
    }
}
