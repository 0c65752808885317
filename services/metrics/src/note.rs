//! What the service itself keeps beside samples, in the same table under keys of its own: after a restart it knows
//! again when phases began, what it watched and what its probes saw.

use std::sync::atomic::{AtomicU64, Ordering};

use prost::Message as _;
use protocol::id::{IncarnationId, RunId};
use protocol::v1;
use store::{RecordKey, Store, StoreError};

/// The producer of notes; no worker's id, for those are UUIDs of version 7.
const PRODUCER: [u8; 16] = *b"gauntlet-metrics";
/// Stands where samples have their phase.
const PHASE: u32 = u32::MAX;
/// Set in the part of a guest fault's key, which its producer counts apart from its samples.
const FAULT: u32 = 1 << 31;

/// One note. Stored: fields are only added.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Note {
    /// The run is watched from here on.
    #[prost(message, optional, tag = "1")]
    pub(crate) watch: Option<v1::WatchRun>,
    /// A phase began.
    #[prost(message, optional, tag = "2")]
    pub(crate) mark: Option<v1::MarkPhase>,
    /// What probes have seen since the last such note.
    #[prost(message, repeated, tag = "3")]
    pub(crate) targets: Vec<v1::TargetSamples>,
    /// The phase of `targets`.
    #[prost(uint32, tag = "4")]
    pub(crate) phase: u32,
    /// The run is not watched any more.
    #[prost(bool, tag = "5")]
    pub(crate) unwatched: bool,
    /// A guest broke a limit.
    #[prost(message, optional, tag = "6")]
    pub(crate) fault: Option<v1::GuestFault>,
}

/// What a stored sample is.
#[derive(Debug)]
pub(crate) enum Kept {
    /// A worker's.
    Batch(Box<v1::SampleBatch>),
    /// Our own.
    Note(Box<Note>),
}

/// Reads a stored sample.
pub(crate) fn read(key: &RecordKey, blob: &[u8]) -> Result<Kept, prost::DecodeError> {
    if key.producer == PRODUCER || key.part & FAULT != 0 {
        Ok(Kept::Note(Box::new(Note::decode(blob)?)))
    } else {
        Ok(Kept::Batch(Box::new(v1::SampleBatch::decode(blob)?)))
    }
}

/// Keeps a guest fault once. `false` = it was kept before.
pub(crate) async fn keep_fault(
    store: &Store,
    run: RunId,
    key: &RecordKey,
    fault: &v1::GuestFault,
) -> Result<bool, StoreError> {
    let key = RecordKey { part: key.part | FAULT, ..*key };
    let note = Note { fault: Some(fault.clone()), ..Note::default() };
    store.apply_sample(run, PHASE, &key, note.encode_to_vec()).await
}

/// Numbers the notes of one life of the service; they are read in its order.
#[derive(Debug)]
pub(crate) struct Notes {
    incarnation: IncarnationId,
    sequence: AtomicU64,
}

impl Notes {
    pub(crate) fn new() -> Self {
        Self { incarnation: IncarnationId::new(), sequence: AtomicU64::new(0) }
    }

    /// Keeps a note; durable on return.
    pub(crate) async fn keep(&self, store: &Store, run: RunId, note: &Note) -> Result<(), StoreError> {
        let incarnation = <[u8; 16]>::try_from(self.incarnation.to_bytes()).unwrap_or_default();
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        let key = RecordKey { producer: PRODUCER, incarnation, sequence, part: 0 };
        store.apply_sample(run, PHASE, &key, note.encode_to_vec()).await.map(|_| ())
    }
}
