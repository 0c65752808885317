//! The store of items and the cache in front of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use axum::body::Bytes;
use serde::{Deserialize, Serialize};

use crate::cache::Cache;

/// Items that the store in memory takes at most; more are refused with 507.
pub(crate) const MAX_ITEMS: usize = 2_000_000;

/// Longest name, bytes.
const MAX_NAME: usize = 256;

const COLOURS: [&str; 8] = ["amber", "blue", "crimson", "dun", "emerald", "fuchsia", "grey", "hazel"];
const THINGS: [&str; 7] = ["anvil", "bell", "clock", "drum", "easel", "flute", "globe"];

/// One item, as it is answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Item {
    pub(crate) id: u64,
    pub(crate) name: String,
    /// In the shop's currency.
    pub(crate) price: f64,
}

/// What `POST /items` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewItem {
    pub(crate) name: String,
    pub(crate) price: f64,
}

impl NewItem {
    /// Whether it can be an item at all.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        let valid = (1..=MAX_NAME).contains(&self.name.len()) && self.price.is_finite() && self.price >= 0.0;
        if valid { Ok(()) } else { Err(Refusal::Invalid) }
    }
}

/// Why an item was not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("name must have 1 to {MAX_NAME} bytes and price must be 0 or more")]
    Invalid,
    #[error("the store holds its {MAX_ITEMS} items")]
    Full,
}

/// Store and cache. Item n has the id n, from 1.
pub(crate) struct Items {
    store: RwLock<Vec<Item>>,
    cache: Mutex<Cache>,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// Where an item came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Cache,
    Store,
}

impl Items {
    /// `count` made-up items, always the same.
    pub(crate) fn new(count: usize, cache: usize) -> Self {
        let store = (1..=count as u64).map(sample).collect();
        Self {
            store: RwLock::new(store),
            cache: Mutex::new(Cache::new(cache)),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// The item as JSON, from the cache if it is there.
    pub(crate) fn get(&self, id: u64) -> Option<(Source, Bytes)> {
        if let Some(body) = self.cache().get(id) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return Some((Source::Cache, body));
        }
        let body = {
            let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
            let item = store.get(usize::try_from(id.checked_sub(1)?).ok()?)?;
            Bytes::from(serde_json::to_vec(item).unwrap_or_default())
        };
        self.misses.fetch_add(1, Ordering::Relaxed);
        self.cache().insert(id, body.clone());
        Some((Source::Store, body))
    }

    /// Items from `offset` on, at most `limit`, and how many there are.
    pub(crate) fn list(&self, offset: usize, limit: usize) -> (usize, Vec<Item>) {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        (store.len(), store.iter().skip(offset).take(limit).cloned().collect())
    }

    /// The first items, at most `limit`, whose names contain the text.
    pub(crate) fn search(&self, text: &str, limit: usize) -> Vec<Item> {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        store.iter().filter(|item| item.name.contains(text)).take(limit).cloned().collect()
    }

    /// Adds an item; returns its id.
    pub(crate) fn add(&self, new: NewItem) -> Result<u64, Refusal> {
        new.check()?;
        let mut store = self.store.write().unwrap_or_else(PoisonError::into_inner);
        if store.len() >= MAX_ITEMS {
            return Err(Refusal::Full);
        }
        let id = store.len() as u64 + 1;
        store.push(Item { id, name: new.name, price: new.price });
        Ok(id)
    }

    /// (hits, misses) of the cache; an id that does not exist is neither.
    pub(crate) fn cache_counts(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    /// Entries in the cache.
    pub(crate) fn cached(&self) -> usize {
        self.cache().len()
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The made-up item with this id.
pub(crate) fn sample(id: u64) -> Item {
    let pick = |words: &[&'static str]| words[(id % words.len() as u64) as usize];
    let name = format!("{} {} {id}", pick(&COLOURS), pick(&THINGS));
    Item { id, name, price: ((id * 37) % 9_900 + 100) as f64 / 100.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_read_comes_from_the_cache() {
        let items = Items::new(10, 5);
        let (first, body) = items.get(3).unwrap();
        assert_eq!((first, items.get(3).unwrap()), (Source::Store, (Source::Cache, body)));
        assert_eq!(items.cache_counts(), (1, 1));
        assert_eq!(items.get(11), None);
        assert_eq!(items.get(0), None);
        assert_eq!(items.cache_counts(), (1, 1));
    }

    #[test]
    fn what_was_added_is_found() {
        let items = Items::new(2, 5);
        let id = items.add(NewItem { name: "violet harp".into(), price: 2.5 }).unwrap();
        assert_eq!(id, 3);
        assert_eq!(items.search("harp", 10), vec![Item { id: 3, name: "violet harp".into(), price: 2.5 }]);
        assert_eq!(items.list(2, 10), (3, items.search("harp", 10)));
        assert_eq!(&items.get(3).unwrap().1[..], br#"{"id":3,"name":"violet harp","price":2.5}"#);
    }

    #[test]
    fn invalid_items_are_refused() {
        let items = Items::new(0, 0);
        for (name, price) in [("", 1.0), ("x", -1.0), ("x", f64::NAN)] {
            assert_eq!(items.add(NewItem { name: name.into(), price }), Err(Refusal::Invalid));
        }
    }
}
