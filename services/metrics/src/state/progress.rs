//! Which batches came, and which are missing.

use std::collections::{BTreeMap, BTreeSet};

use protocol::id::{IncarnationId, WorkerId};
use protocol::v1;

use super::batch::Decoded;
use super::lags::Lags;
use super::row::add_arrivals;

/// Numbers that came, as ranges: one entry unless there are holes.
#[derive(Debug, Default)]
pub(crate) struct Ranges {
    /// First → last, both included; never touching.
    ranges: BTreeMap<u64, u64>,
}

impl Ranges {
    /// Adds a number.
    pub(crate) fn insert(&mut self, number: u64) {
        let before = self.ranges.range(..=number).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| number <= last) {
            return;
        }
        let first = match before {
            Some((first, last)) if last + 1 == number => first,
            _ => number,
        };
        let last = number.checked_add(1).and_then(|next| self.ranges.remove(&next)).unwrap_or(number);
        self.ranges.insert(first, last);
    }

    /// The last number.
    pub(crate) fn last(&self) -> Option<u64> {
        self.ranges.values().next_back().copied()
    }

    /// What is missing between the first and the last: first and last of each hole.
    pub(crate) fn holes(&self) -> impl Iterator<Item = (u64, u64)> {
        self.ranges.values().zip(self.ranges.keys().skip(1)).map(|(last, next)| (last + 1, next - 1))
    }
}

/// One life of a worker in one phase.
#[derive(Debug, Default)]
struct Life {
    /// Sequences of which at least one part came.
    seen: Ranges,
    /// Sequences of which a part is missing: the parts that came, and how many there are.
    partial: BTreeMap<u64, (BTreeSet<u32>, u32)>,
    batches: u64,
    /// The batch marked `last` came.
    last: bool,
    /// End of the newest interval, with what it may tremble by.
    reach_ns: u64,
    /// Sums; `waiting` and `in_flight` are those of the interval that ends at `at_ns`, the latest.
    arrivals: v1::ArrivalCounts,
    at_ns: u64,
    lags: Lags,
}

impl Life {
    /// Adds what stands in a batch once, with its first part.
    fn add(&mut self, part: &Decoded) {
        let counts = part.batch.arrivals.unwrap_or_default();
        add_arrivals(&mut self.arrivals, &counts);
        if part.end_ns() >= self.at_ns {
            self.at_ns = part.end_ns();
            (self.arrivals.waiting, self.arrivals.in_flight) = (counts.waiting, counts.in_flight);
        }
        part.batch
            .threads
            .iter()
            .filter_map(|thread| thread.send_lag.as_ref())
            .for_each(|lag| self.lags.add(lag));
    }
}

/// Who sent what in one phase. A phase's sequences of one life have no holes; between phases there may be some
/// (intervals in which no phase ran are not sent).
#[derive(Debug, Default)]
pub(crate) struct Progress {
    lives: BTreeMap<([u8; 16], [u8; 16]), Life>,
    damaged: Vec<String>,
}

/// How far a worker may be behind the others before nobody waits for it: 3 s.
const LAG_NS: u64 = 3_000_000_000;
/// By how much the end of an interval may lie before the second that it closes.
const TREMBLE_NS: u64 = 100_000_000;

impl Progress {
    /// Notes a part.
    pub(crate) fn note(&mut self, part: &Decoded) {
        let life = self.lives.entry((part.key.producer, part.key.incarnation)).or_default();
        let sequence = part.key.sequence;
        life.seen.insert(sequence);
        life.last |= part.batch.last;
        if part.is_head() {
            life.add(part);
        }
        let tremble = (part.batch.interval_ns / 2).min(TREMBLE_NS);
        life.reach_ns = life.reach_ns.max(part.end_ns().saturating_add(tremble));
        if part.batch.parts > 1 {
            let (parts, of) = life.partial.entry(sequence).or_default();
            parts.insert(part.batch.part);
            *of = part.batch.parts;
            if parts.len() < *of as usize {
                return;
            }
            life.partial.remove(&sequence);
        }
        life.batches += 1;
    }

    /// Notes a batch that cannot be read.
    pub(crate) fn note_damaged(&mut self, text: String) {
        self.damaged.push(text);
    }

    /// Up to where all workers that are still sending have been heard; those far behind are not waited for.
    /// `None` when nobody was heard; the end of everything when all have sent their last.
    pub(crate) fn complete_to(&self) -> Option<u64> {
        let newest = self.lives.values().map(|life| life.reach_ns).max()?;
        let behind = self
            .lives
            .values()
            .filter(|life| !life.last && life.reach_ns + LAG_NS >= newest)
            .map(|life| life.reach_ns)
            .min();
        Some(behind.unwrap_or(u64::MAX))
    }

    /// How far each worker has come.
    pub(crate) fn workers(&mut self) -> Vec<v1::WorkerProgress> {
        self.lives
            .iter_mut()
            .map(|((worker, incarnation), life)| v1::WorkerProgress {
                worker: worker.to_vec(),
                incarnation: incarnation.to_vec(),
                last_sequence: life.seen.last().unwrap_or(0),
                last: life.last,
                batches: life.batches,
                arrivals: Some(life.arrivals),
                send_lag: Some(life.lags.merged()),
            })
            .collect()
    }

    /// What is missing, for people.
    pub(crate) fn gaps(&self) -> Vec<String> {
        let mut gaps = self.damaged.clone();
        for ((worker, incarnation), life) in &self.lives {
            let who = name(worker, incarnation);
            for (first, last) in life.seen.holes() {
                gaps.push(if first == last {
                    format!("{who}: batch {first} is missing")
                } else {
                    format!("{who}: batches {first} to {last} are missing")
                });
            }
            for (sequence, (parts, of)) in &life.partial {
                let missing: Vec<_> =
                    (0..*of).filter(|part| !parts.contains(part)).map(|part| part.to_string()).collect();
                gaps.push(format!("{who}: batch {sequence} lacks part {} of {of}", missing.join(", ")));
            }
            if !life.last {
                gaps.push(format!("{who}: its last batch of the phase did not come"));
            }
        }
        gaps
    }
}

/// A life of a worker, for people.
pub(crate) fn name(worker: &[u8; 16], incarnation: &[u8; 16]) -> String {
    let worker = WorkerId::from_bytes(worker).map_or_else(|_| "?".to_owned(), |id| id.to_string());
    let life = IncarnationId::from_bytes(incarnation).map_or_else(|_| "?".to_owned(), |id| id.to_string());
    format!("worker {worker} (incarnation {life})")
}
