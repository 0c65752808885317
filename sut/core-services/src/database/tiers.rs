//! The cache's first two levels, both in memory and bounded in bytes: what the small one lets go is mostly still in the large one.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::Settings;

/// Bytes that an entry takes beside its body: key, handle of the body, place in the table.
const OVERHEAD: u64 = 96;
/// Entries that the tables have room for at first; they grow.
const ENTRIES: usize = 16_384;

/// Which cache had an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// The first.
    L1,
    /// The second, whence it is now in the first too.
    L2,
    /// The third, which other processes fill too; from there it is now in the first two.
    L3,
    /// None of them: a server was asked.
    Miss,
}

#[derive(Clone)]
struct InBytes;

impl Weighter<u64, Bytes> for InBytes {
    fn weight(&self, _: &u64, body: &Bytes) -> u64 {
        OVERHEAD + body.len() as u64
    }
}

/// One level.
pub(super) struct Tier {
    cache: Cache<u64, Bytes, InBytes>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Tier {
    fn new(bytes: u64) -> Self {
        let cache = Cache::with_weighter(ENTRIES, bytes, InBytes);
        Self { cache, hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    fn get(&self, id: u64) -> Option<Bytes> {
        let found = self.cache.get(&id);
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// (hits, misses).
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    /// (bytes in it, bytes at most, entries).
    pub(super) fn usage(&self) -> (u64, u64, u64) {
        (self.cache.weight(), self.cache.capacity(), self.cache.len() as u64)
    }
}

/// Both of them.
pub(super) struct Tiers {
    pub(super) l1: Tier,
    pub(super) l2: Tier,
}

impl Tiers {
    pub(super) fn new(settings: &Settings) -> Self {
        Self { l1: Tier::new(settings.l1_bytes), l2: Tier::new(settings.l2_bytes) }
    }

    pub(super) fn get(&self, id: u64) -> Option<(Level, Bytes)> {
        if let Some(body) = self.l1.get(id) {
            return Some((Level::L1, body));
        }
        let body = self.l2.get(id)?;
        self.l1.cache.insert(id, body.clone());
        Some((Level::L2, body))
    }

    pub(super) fn insert(&self, id: u64, body: &Bytes) {
        self.l1.cache.insert(id, body.clone());
        self.l2.cache.insert(id, body.clone());
    }

    /// Changes the caps; what does not fit any more goes.
    pub(super) fn resize(&self, l1_bytes: u64, l2_bytes: u64) {
        self.l1.cache.set_capacity(l1_bytes);
        self.l2.cache.set_capacity(l2_bytes);
    }
}
