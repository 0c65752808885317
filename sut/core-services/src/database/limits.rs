//! What can be changed about pools, bulkhead and caches while the target runs: how each is exhausted.

use deadpool::unmanaged::Object;
use resilience::bulkhead::Place;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{Database, Error};

/// As `PUT /admin/limits` takes them and `GET` gives them back. What is left out is as it was at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// Connections to each server that are kept from everybody: so many fewer than the pool's most are left.
    pub(crate) pool_held: usize,
    /// Places of the bulkhead that are kept from everybody.
    pub(crate) bulkhead_held: usize,
    /// Buffers that are kept from everybody.
    pub(crate) buffers_held: usize,
    /// Digests that are kept from everybody.
    pub(crate) digests_held: usize,
    /// Bytes in the first level of the cache.
    pub(crate) l1_bytes: Option<u64>,
    /// Bytes in the second level.
    pub(crate) l2_bytes: Option<u64>,
}

/// What is kept from everybody.
#[derive(Default)]
pub(super) struct Held {
    limits: Limits,
    connections: Vec<Box<dyn Send>>,
    places: Vec<Place>,
    buffers: Vec<Object<Vec<u8>>>,
    digests: Vec<Object<Sha256>>,
}

impl Database {
    /// What is wrong with these limits; empty = nothing.
    pub(crate) fn problems(&self, limits: &Limits) -> Vec<String> {
        let super::Settings { pool, bulkhead, reused, .. } = &self.settings;
        [
            ("pool_held", limits.pool_held, pool.max, "--pool-max"),
            ("bulkhead_held", limits.bulkhead_held, bulkhead.concurrent, "--bulkhead-concurrent"),
            ("buffers_held", limits.buffers_held, reused.buffers, "--buffers"),
            ("digests_held", limits.digests_held, reused.digests, "--digests"),
        ]
        .into_iter()
        .filter(|(_, held, most, _)| held > most)
        .map(|(limit, held, most, flag)| format!("{limit}: {held} is above the {most} of {flag}"))
        .collect()
    }

    pub(crate) async fn limits(&self) -> Limits {
        self.held.lock().await.limits
    }

    /// Sets all limits. What is to be held is waited for as a call waits for it.
    pub(crate) async fn set_limits(&self, limits: Limits) -> Result<(), Error> {
        let mut held = self.held.lock().await;
        // What was held is free for a moment: nobody is kept out of what the new limits leave.
        *held = Held { limits, ..Held::default() };
        self.tiers.resize(
            limits.l1_bytes.unwrap_or(self.settings.l1_bytes),
            limits.l2_bytes.unwrap_or(self.settings.l2_bytes),
        );
        for node in self.nodes() {
            for n in 0..limits.pool_held {
                let connection = node.backend().hold(n).await;
                held.connections
                    .push(connection.map_err(|detail| Error::Failed { place: node.name.clone(), detail })?);
            }
        }
        for _ in 0..limits.bulkhead_held {
            held.places.push(self.enter().await?);
        }
        for _ in 0..limits.buffers_held {
            held.buffers.push(self.buffers.take().await?);
        }
        for _ in 0..limits.digests_held {
            held.digests.push(self.digests.take().await?);
        }
        Ok(())
    }
}
