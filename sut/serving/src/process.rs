//! What a system under test does as a process of its own.

use std::io;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Writes a file whole or not at all: a reader that waits for it must never see half of it.
///
/// # Errors
/// When it, or the file beside it that becomes it, cannot be written.
pub fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    std::fs::write(&partial, text)?;
    std::fs::rename(&partial, path)
}

/// Allows as many connections as the system lets us have.
pub fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Refused, the old limit stays; a target with fewer connections is still a target.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// SIGTERM and SIGINT, caught from when this is made: before the address is announced, for whoever reads it may send one at
/// once.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Catches them, inside a runtime.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn catch() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the first of them.
    pub async fn received(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// How long what is in progress may take after the signal to stop.
#[derive(Debug)]
pub struct Grace {
    whole: Duration,
    begun: OnceLock<Instant>,
}

impl Grace {
    /// As long as this, once it begins.
    #[must_use]
    pub const fn new(whole: Duration) -> Self {
        Self { whole, begun: OnceLock::new() }
    }

    /// Waits for the signal, with which it begins.
    pub async fn begins_with(&self, stop: impl Future<Output = ()>) {
        stop.await;
        // The first signal counts.
        let _ = self.begun.set(Instant::now());
    }

    /// What is left of it.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.whole.saturating_sub(self.begun.get().map(Instant::elapsed).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn grace_counts_from_the_signal() {
        let grace = Grace::new(Duration::from_secs(600));
        assert_eq!(grace.left(), Duration::from_secs(600));
        grace.begins_with(std::future::ready(())).await;
        let left = grace.left();
        assert!(left < Duration::from_secs(600) && left > Duration::from_secs(300), "{left:?}");
    }
}
