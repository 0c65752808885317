//! A bounded cache with second-chance eviction: near enough to least-recently-used, at the cost of a flag.

use std::collections::HashMap;

use axum::body::Bytes;

struct Slot {
    id: u64,
    body: Bytes,
    used: bool,
}

/// Serialised items by id.
pub(crate) struct Cache {
    capacity: usize,
    places: HashMap<u64, usize>,
    slots: Vec<Slot>,
    hand: usize,
}

impl Cache {
    /// At most `capacity` entries; 0 = caches nothing.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, places: HashMap::new(), slots: Vec::new(), hand: 0 }
    }

    pub(crate) fn get(&mut self, id: u64) -> Option<Bytes> {
        let slot = self.slots.get_mut(*self.places.get(&id)?)?;
        slot.used = true;
        Some(slot.body.clone())
    }

    pub(crate) fn insert(&mut self, id: u64, body: Bytes) {
        if self.capacity == 0 || self.places.contains_key(&id) {
            return;
        }
        let slot = Slot { id, body, used: false };
        if self.slots.len() < self.capacity {
            self.places.insert(id, self.slots.len());
            self.slots.push(slot);
            return;
        }
        // Ends after one round at the latest: each step clears a flag.
        while self.slots[self.hand].used {
            self.slots[self.hand].used = false;
            self.hand = (self.hand + 1) % self.capacity;
        }
        self.places.remove(&self.slots[self.hand].id);
        self.places.insert(id, self.hand);
        self.slots[self.hand] = slot;
        self.hand = (self.hand + 1) % self.capacity;
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(id: u64) -> Bytes {
        Bytes::from(id.to_string())
    }

    #[test]
    fn it_keeps_what_was_used_and_stays_within_its_capacity() {
        let mut cache = Cache::new(3);
        (1..=3).for_each(|id| cache.insert(id, body(id)));
        assert_eq!(cache.get(1), Some(body(1)));
        cache.insert(4, body(4));
        assert_eq!(cache.get(2), None, "2 was the oldest that nobody used");
        for id in [1, 3, 4] {
            assert_eq!(cache.get(id), Some(body(id)));
        }
        (5..100).for_each(|id| cache.insert(id, body(id)));
        assert_eq!(cache.len(), 3);
    }

    #[test]
    fn without_capacity_it_caches_nothing() {
        let mut cache = Cache::new(0);
        cache.insert(1, body(1));
        assert_eq!((cache.get(1), cache.len()), (None, 0));
    }
}
