//! Signals: the first ends the run gracefully, the second at once.

use scheduler::verdict::stop_code;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// The signals that end a run. SIGHUP too: a terminal that is closed must leave no load behind.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

/// A signal that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Came {
    /// `signal SIGINT`: who asks for the stop.
    pub(crate) by: &'static str,
}

impl Came {
    /// The exit code of a run that ended by this.
    pub(crate) fn code(self) -> u8 {
        stop_code(self.by)
    }
}

impl Signals {
    /// Begins to listen; from here on no signal ends the process by itself.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::environment(format!("signals cannot be received: {error}")))
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    /// The next signal. Safe to drop and call anew, as in `select!`.
    pub(crate) async fn next(&mut self) -> Came {
        let by = tokio::select! {
            Some(()) = self.interrupt.recv() => "signal SIGINT",
            Some(()) = self.terminate.recv() => "signal SIGTERM",
            Some(()) = self.hang_up.recv() => "signal SIGHUP",
            else => std::future::pending().await,
        };
        Came { by }
    }
}
