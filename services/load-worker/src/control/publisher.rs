//! Batches on their way to the record log.

use std::collections::VecDeque;

use bus::{Bus, RecordError};
use protocol::v1;
use store::RecordKey;

use crate::record::Owner;

/// Guest faults that wait for the log at most; a guest that traps at each call must not fill the memory.
const FAULTS: usize = 1_024;

/// Changes of endpoints that are told of a run at most: enough to see what is going on.
const ENDPOINT_NEWS: u64 = 200;

/// What is to be appended, in order.
pub(super) struct Publisher {
    owner: Owner,
    batches: VecDeque<(RecordKey, v1::SampleBatch)>,
    faults: VecDeque<(RecordKey, v1::GuestFault)>,
    fault_sequence: u64,
    endpoints: VecDeque<(RecordKey, v1::EndpointNews)>,
    endpoint_sequence: u64,
    faults_lost: u64,
    /// Since when the log has refused, said once.
    refused: bool,
}

impl Publisher {
    pub(super) const fn new(owner: Owner) -> Self {
        Self {
            owner,
            batches: VecDeque::new(),
            faults: VecDeque::new(),
            fault_sequence: 0,
            endpoints: VecDeque::new(),
            endpoint_sequence: 0,
            faults_lost: 0,
            refused: false,
        }
    }

    /// The parts of one interval.
    pub(super) fn queue(&mut self, sequence: u64, parts: Vec<v1::SampleBatch>) {
        let key = |part| key(self.owner, sequence, part);
        self.batches.extend(parts.into_iter().map(|batch| (key(batch.part), batch)));
    }

    /// A guest's fault. Beyond what may wait they are counted and said in the log.
    pub(super) fn queue_fault(&mut self, fault: v1::GuestFault) {
        if self.faults.len() >= FAULTS {
            self.faults_lost += 1;
            if self.faults_lost.is_power_of_two() {
                tracing::warn!(
                    lost = self.faults_lost,
                    guest = fault.guest,
                    "guest faults come faster than the log takes them"
                );
            }
            return;
        }
        self.fault_sequence += 1;
        self.faults.push_back((key(self.owner, self.fault_sequence, 0), fault));
    }

    /// A change of an endpoint. Beyond so many they are said in the log alone.
    pub(super) fn queue_endpoint(&mut self, mut news: v1::EndpointNews) {
        let v1::EndpointNews { target, endpoint, out, cause, detail, .. } = &news;
        tracing::info!(target, endpoint, out, cause, detail, "endpoint");
        if self.endpoint_sequence == ENDPOINT_NEWS {
            return;
        }
        self.endpoint_sequence += 1;
        if self.endpoint_sequence == ENDPOINT_NEWS {
            news.detail.push_str("; this worker's log alone has all changes after this one");
        }
        self.endpoints.push_back((key(self.owner, self.endpoint_sequence, 0), news));
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.faults.is_empty() && self.endpoints.is_empty()
    }

    /// Appends what waits, until done or refused. `true` = nothing is left; all of it is durable.
    pub(super) async fn send(&mut self, bus: &Bus) -> bool {
        while let Some((key, fault)) = self.faults.front() {
            let result = bus.record(key, fault).await;
            if !self.accepted(result) {
                return false;
            }
            self.faults.pop_front();
        }
        while let Some((key, news)) = self.endpoints.front() {
            let result = bus.record(key, news).await;
            if !self.accepted(result) {
                return false;
            }
            self.endpoints.pop_front();
        }
        while let Some((key, batch)) = self.batches.front() {
            let result = bus.record(key, batch).await;
            if !self.accepted(result) {
                return false;
            }
            self.batches.pop_front();
        }
        true
    }

    fn accepted(&mut self, result: Result<(), RecordError>) -> bool {
        match result {
            Ok(()) => {
                if std::mem::take(&mut self.refused) {
                    tracing::info!("the record log takes samples again");
                }
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut self.refused, true) {
                    tracing::warn!(%error, "samples cannot be recorded now; intervals are merged until they can");
                }
                false
            }
        }
    }
}

/// The key under which a record takes effect once.
pub(super) fn key(owner: Owner, sequence: u64, part: u32) -> RecordKey {
    RecordKey {
        producer: bytes(&owner.worker.to_bytes()),
        incarnation: bytes(&owner.incarnation.to_bytes()),
        sequence,
        part,
    }
}

fn bytes(id: &[u8]) -> [u8; 16] {
    let mut all = [0; 16];
    for (to, from) in all.iter_mut().zip(id) {
        *to = *from;
    }
    all
}
