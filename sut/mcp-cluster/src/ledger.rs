//! What this server acknowledged to its clients, so that it can be looked for.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::records::{Record, Version, checksum};

/// Keys that are remembered at most; what is beyond is counted.
const CAPACITY: usize = 100_000;

/// The last acknowledged state of an object.
#[derive(Clone, Debug)]
pub(crate) struct Acknowledged {
    pub(crate) version: Version,
    /// Of its content; absent = deleted.
    pub(crate) checksum: Option<String>,
}

/// The last acknowledged state of each key that was written here.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    keys: BTreeMap<Arc<str>, Acknowledged>,
    beyond: u64,
}

impl Ledger {
    pub(crate) fn add(&mut self, key: &str, record: &Record) {
        let checksum = record.content.as_deref().map(checksum);
        let new = Acknowledged { version: record.version, checksum };
        if let Some(known) = self.keys.get_mut(key) {
            // Two that are written at once may be acknowledged in the other order.
            if known.version < new.version {
                *known = new;
            }
        } else if self.keys.len() < CAPACITY {
            self.keys.insert(key.into(), new);
        } else {
            self.beyond += 1;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Writes whose keys are not remembered.
    pub(crate) fn beyond(&self) -> u64 {
        self.beyond
    }

    pub(crate) fn page(&self, after: Option<&str>, limit: usize) -> Vec<(Arc<str>, Acknowledged)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.keys.range::<str, _>((from, Bound::Unbounded));
        range.take(limit).map(|(key, known)| (Arc::clone(key), known.clone())).collect()
    }
}
