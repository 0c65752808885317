//! Time that runs about twenty times as fast as the wall's, for tests whose phases last seconds.

use std::sync::mpsc;
use std::time::Duration;

use service::{OnError, Tasks};

/// Advances the paused clock while it lives. The clock does not jump by itself meanwhile, so that what waits for the store
/// (which is not on tokio's clock) is not overtaken by every deadline.
pub(crate) struct Pace {
    _stop: mpsc::Sender<()>,
}

impl Pace {
    pub(crate) fn start(tasks: &Tasks) -> Self {
        let (stop, stopped) = mpsc::channel::<()>();
        // A blocking task in flight keeps the clock from jumping.
        tokio::task::spawn_blocking(move || stopped.recv());
        tasks.spawn("pace", OnError::Log, async {
            loop {
                let pause = || std::thread::park_timeout(Duration::from_millis(1));
                tokio::task::spawn_blocking(pause).await.map_err(|error| error.to_string())?;
                tokio::time::advance(Duration::from_millis(20)).await;
            }
            #[expect(unreachable_code, reason = "gives the task its type")]
            Ok::<(), String>(())
        });
        Self { _stop: stop }
    }
}
