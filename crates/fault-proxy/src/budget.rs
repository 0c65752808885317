//! The bytes that all connections together may hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A limit on bytes held. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    limit: usize,
    held: Arc<AtomicUsize>,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, held: Arc::default() }
    }

    /// Whether more may be taken in.
    pub(crate) fn has_room(&self) -> bool {
        self.held() < self.limit
    }

    /// Bytes held now.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Someone held `before` bytes and holds `now`.
    pub(crate) fn account(&self, before: usize, now: usize) {
        if now > before {
            self.held.fetch_add(now - before, Ordering::Relaxed);
        } else if now < before {
            self.held.fetch_sub(before - now, Ordering::Relaxed);
        }
    }
}
