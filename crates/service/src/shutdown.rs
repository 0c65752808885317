//! One signal that ends a service, with the reason for it.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

/// A signal to shut down: triggered at most once, remembered for ever. Clones share the signal.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    reason: Arc<OnceLock<String>>,
    parent: Option<Box<Shutdown>>,
}

impl Shutdown {
    /// A signal that nobody has triggered yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A signal that follows this one, but can be triggered without triggering it: for a part that ends before the
    /// whole does.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { token: self.token.child_token(), reason: Arc::default(), parent: Some(Box::new(self.clone())) }
    }

    /// Tells everybody to end. The first reason stands; later calls change nothing.
    pub fn trigger(&self, reason: impl Into<String>) {
        // The reason is set before the token, so that whoever wakes up finds it.
        if self.reason.set(reason.into()).is_ok() {
            self.token.cancel();
        }
    }

    /// Whether it was triggered.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Why, once triggered: its own reason, else that of the signal it follows.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        if !self.is_triggered() {
            return None;
        }
        self.reason.get().cloned().or_else(|| self.parent.as_ref().and_then(|parent| parent.reason()))
    }

    /// Waits until triggered; returns at once if it was. Safe to drop and call anew, as in `select!`.
    pub async fn triggered(&self) {
        self.token.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_reason_stands_and_clones_share_it() {
        let shutdown = Shutdown::new();
        let other = shutdown.clone();
        assert!(!other.is_triggered());
        assert_eq!(other.reason(), None);
        shutdown.trigger("signal SIGINT");
        shutdown.trigger("something later");
        other.triggered().await;
        assert_eq!(other.reason().as_deref(), Some("signal SIGINT"));
    }

    #[tokio::test]
    async fn a_child_follows_its_parent_but_not_the_other_way_round() {
        let parent = Shutdown::new();
        let (first, second) = (parent.child(), parent.child());
        first.trigger("run ended");
        assert!(!parent.is_triggered() && !second.is_triggered());
        parent.trigger("signal SIGTERM");
        second.triggered().await;
        assert_eq!(second.reason().as_deref(), Some("signal SIGTERM"));
        assert_eq!(first.reason().as_deref(), Some("run ended"));
    }
}
