//! What was acknowledged: id and checksum of each item that a client was told is written.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::items::{Item, MAX_ITEMS};

/// The first half of the SHA-256 of an item: name, zero byte, bits of the price, id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checksum([u8; 16]);

impl Checksum {
    pub(crate) fn of(item: &Item) -> Self {
        Self::with(&mut Sha256::new(), item)
    }

    /// Taken with a digest that has nothing in it, and has nothing in it afterwards.
    pub(super) fn with(sha: &mut Sha256, item: &Item) -> Self {
        sha.update(item.name.as_bytes());
        sha.update([0]);
        sha.update(item.price.to_bits().to_be_bytes());
        sha.update(item.id.to_be_bytes());
        let mut half = [0; 16];
        half.copy_from_slice(&sha.finalize_reset()[..16]);
        Self(half)
    }
}

impl std::fmt::Display for Checksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Checksum {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// In the order of the answers.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    acknowledged: Vec<(u64, Checksum)>,
    beyond: u64,
}

impl Ledger {
    /// Notes one; at most [`MAX_ITEMS`], and more are counted as beyond it.
    pub(super) fn add(&mut self, id: u64, checksum: Checksum) {
        if self.acknowledged.len() < MAX_ITEMS {
            self.acknowledged.push((id, checksum));
        } else {
            self.beyond += 1;
        }
    }

    /// Those from the `first` on, at most `limit`.
    pub(super) fn part(&self, first: usize, limit: usize) -> Vec<(u64, Checksum)> {
        self.acknowledged.iter().skip(first).take(limit).copied().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.acknowledged.len()
    }

    /// Those that were acknowledged and not noted.
    pub(super) fn beyond(&self) -> u64 {
        self.beyond
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_an_item_is_in_its_checksum() {
        let item = Item { id: 7, name: "odd harp".into(), price: 1.5 };
        let others = [
            Item { id: 8, ..item.clone() },
            Item { name: "odd harq".into(), ..item.clone() },
            Item { price: 1.5000001, ..item.clone() },
        ];
        let mut sha = Sha256::new();
        assert_eq!([(); 2].map(|()| Checksum::with(&mut sha, &item)), [Checksum::of(&item); 2]);
        assert!(others.iter().all(|other| Checksum::of(other) != Checksum::of(&item)));
        assert_eq!(Checksum::of(&item).to_string().len(), 32);
    }
}
