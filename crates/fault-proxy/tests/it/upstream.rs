//! Servers behind the proxy.

use std::convert::Infallible;
use std::future::Future;
use std::io::Write as _;

use service::{OnError, Shutdown, Tasks};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// A server that ends with the test.
pub(crate) struct Upstream {
    pub(crate) address: String,
    _tasks: Tasks,
}

impl Upstream {
    /// Serves each connection by itself.
    pub(crate) async fn start<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // A short queue that overflows makes the kernel answer with cookies and then lose connections: the proxy's end is
        // open, and nobody is at the other.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(4_096).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let tasks = Tasks::new(Shutdown::new());
        let connections = Tasks::new(Shutdown::new());
        tasks.spawn("upstream", OnError::Log, async move {
            loop {
                // Out of files, say: a test that then waits in vain must say why.
                let socket = match listener.accept().await {
                    Ok((socket, _)) => socket,
                    Err(error) => {
                        let _ = writeln!(std::io::stderr(), "upstream: {error}");
                        tokio::task::yield_now().await;
                        continue;
                    }
                };
                let served = serve(socket);
                connections.spawn("upstream connection", OnError::Log, async {
                    served.await;
                    Ok::<_, Infallible>(())
                });
            }
            #[expect(unreachable_code, reason = "says of which type the task's error is")]
            Ok::<_, Infallible>(())
        });
        Self { address, _tasks: tasks }
    }

    /// Sends back what comes.
    pub(crate) async fn echo() -> Self {
        Self::start(|mut socket| async move {
            let mut buffer = vec![0; 16 << 10];
            while let Ok(bytes @ 1..) = socket.read(&mut buffer).await {
                if socket.write_all(&buffer[..bytes]).await.is_err() {
                    return;
                }
            }
        })
        .await
    }

    /// Sends so many bytes to whoever comes, then ends.
    pub(crate) async fn sending(bytes: usize) -> Self {
        Self::start(move |mut socket| async move {
            let sent = socket.write_all(&pattern(bytes)).await;
            // Whoever takes nothing more is the test.
            let _ = sent.and(socket.shutdown().await);
            let _ = socket.read(&mut [0; 1]).await;
        })
        .await
    }
}

/// Bytes of which each says where it belongs.
pub(crate) fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index % 251) as u8).collect()
}
