//! What one server holds of the cluster's objects, in memory and within limits.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Which of two states of an object is newer: the one with the higher number, then with the greater id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Version {
    /// One more than the number before.
    pub(crate) number: u64,
    /// Of the one write, so that all agree on who came last when two write at once.
    pub(crate) write: Uuid,
}

/// An object in one of its states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) version: Version,
    /// Absent = deleted. The fact is kept as long as an object would be: without it, a copy that was away brought it back.
    pub(crate) content: Option<Arc<str>>,
}

/// The SHA-256 of a content in hexadecimal.
pub(crate) fn checksum(content: &str) -> String {
    Sha256::digest(content.as_bytes()).iter().fold(String::with_capacity(64), |mut text, byte| {
        use std::fmt::Write as _;
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What became of a record that a server was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kept {
    /// It is there now, or was before.
    There,
    /// A newer one is there.
    Newer(u64),
    /// There is no room.
    Full,
}

/// How much one server holds at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Objects, deleted ones too.
    pub objects: usize,
    /// Bytes of all keys and contents.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { objects: 100_000, bytes: 256 << 20 }
    }
}

#[derive(Debug, Default)]
struct Held {
    records: BTreeMap<Arc<str>, Record>,
    bytes: usize,
}

/// The records of one server.
#[derive(Debug)]
pub(crate) struct Records {
    limits: Limits,
    held: Mutex<Held>,
}

fn size(key: &str, record: &Record) -> usize {
    key.len() + record.content.as_ref().map_or(0, |content| content.len())
}

impl Records {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, held: Mutex::new(Held::default()) }
    }

    pub(crate) fn get(&self, key: &str) -> Option<Record> {
        self.held().records.get(key).cloned()
    }

    /// Keeps a record unless what is there is newer.
    pub(crate) fn put(&self, key: &str, record: Record) -> Kept {
        let mut held = self.held();
        let present = held.records.get(key);
        if let Some(present) = present {
            if present.version == record.version {
                return Kept::There;
            }
            if present.version > record.version {
                return Kept::Newer(present.version.number);
            }
        }
        let before = present.map_or(0, |present| size(key, present));
        let bytes = held.bytes - before + size(key, &record);
        let more = usize::from(present.is_none());
        if held.records.len() + more > self.limits.objects || bytes > self.limits.bytes {
            return Kept::Full;
        }
        held.bytes = bytes;
        held.records.insert(key.into(), record);
        Kept::There
    }

    /// Forgets a record, if it is still this one.
    pub(crate) fn drop_copy(&self, key: &str, version: &Version) {
        let mut held = self.held();
        if held.records.get(key).is_some_and(|record| record.version == *version)
            && let Some(record) = held.records.remove(key)
        {
            held.bytes -= size(key, &record);
        }
    }

    /// The records behind `after` in the order of keys, `limit` at most.
    pub(crate) fn page(&self, after: Option<&str>, limit: usize) -> Vec<(Arc<str>, Record)> {
        let held = self.held();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = held.records.range::<str, _>((from, Bound::Unbounded));
        range.take(limit).map(|(key, record)| (Arc::clone(key), record.clone())).collect()
    }

    /// Versions of the keys with a prefix behind `after`, and whether they are of deleted objects, `limit` at most.
    pub(crate) fn listed(&self, prefix: &str, after: Option<&str>, limit: usize) -> Vec<Listed> {
        let held = self.held();
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let range = held.records.range::<str, _>((from, Bound::Unbounded));
        let listed = range.take_while(|(key, _)| key.starts_with(prefix)).take(limit);
        listed
            .map(|(key, record)| Listed {
                key: key.to_string(),
                version: record.version,
                deleted: record.content.is_none(),
            })
            .collect()
    }

    /// How many records and bytes there are.
    pub(crate) fn usage(&self) -> (usize, usize) {
        let held = self.held();
        (held.records.len(), held.bytes)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A key in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listed {
    pub(crate) key: String,
    pub(crate) version: Version,
    pub(crate) deleted: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: u64, write: u128) -> Version {
        Version { number, write: Uuid::from_u128(write) }
    }

    fn record(number: u64, write: u128, content: &str) -> Record {
        Record { version: version(number, write), content: Some(content.into()) }
    }

    #[test]
    fn the_newest_stays_whatever_the_order() {
        let records = Records::new(Limits::default());
        assert_eq!(records.put("k", record(2, 20, "two")), Kept::There);
        assert_eq!(records.put("k", record(2, 10, "other")), Kept::Newer(2));
        assert_eq!(records.put("k", record(1, 90, "one")), Kept::Newer(2));
        assert_eq!(records.put("k", record(2, 20, "two")), Kept::There);
        assert_eq!(records.get("k"), Some(record(2, 20, "two")));
    }

    #[test]
    fn limits_hold_and_what_goes_makes_room() {
        let records = Records::new(Limits { objects: 2, bytes: 10 });
        assert_eq!(records.put("a", record(1, 1, "1234")), Kept::There);
        assert_eq!(records.put("b", record(1, 1, "12345")), Kept::Full);
        assert_eq!(records.put("b", record(1, 1, "1234")), Kept::There);
        assert_eq!(records.put("c", record(1, 1, "")), Kept::Full);
        records.drop_copy("a", &version(2, 1));
        assert_eq!(records.usage(), (2, 10));
        records.drop_copy("a", &version(1, 1));
        assert_eq!(records.usage(), (1, 5));
        assert_eq!(records.put("b", record(2, 1, "123456789")), Kept::There);
    }

    #[test]
    fn lists_have_what_begins_so_behind_the_cursor() {
        let records = Records::new(Limits::default());
        for key in ["a/1", "b/1", "b/2", "b/3", "c"] {
            records.put(key, record(1, 1, ""));
        }
        let keys = |after, limit| -> Vec<String> {
            records.listed("b/", after, limit).into_iter().map(|listed| listed.key).collect()
        };
        assert_eq!(keys(None, 2), ["b/1", "b/2"]);
        assert_eq!(keys(Some("b/2"), 2), ["b/3"]);
        assert_eq!(keys(Some("a/1"), 9), ["b/1", "b/2", "b/3"]);
        assert_eq!(records.page(Some("b/2"), 9).len(), 2);
    }

    #[test]
    fn the_checksum_is_sha_256() {
        assert_eq!(checksum("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
