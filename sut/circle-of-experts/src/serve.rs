//! Serving until told to stop, then finishing what is in progress.

use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use serving::process::Grace;
use serving::traces::Traces;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Serves until `stop` ends, lets answers in progress finish within the grace, and sends what spans there are.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()>,
    grace: Duration,
    traces: &Traces,
) -> io::Result<()> {
    let (drain, drained) = oneshot::channel::<()>();
    // Each token is a small write of its own: Nagle's algorithm would hold it back.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let serving = axum::serve(listener, router).with_graceful_shutdown(async {
        let _ = drained.await;
    });
    let mut serving = pin!(serving.into_future());
    let limit = Grace::new(grace);
    let served = tokio::select! {
        ended = &mut serving => ended,
        () = limit.begins_with(stop) => {
            let _ = drain.send(());
            // What is not done by then is cut off.
            tokio::time::timeout(grace, serving).await.unwrap_or(Ok(()))
        }
    };
    traces.end(limit.left());
    served
}
