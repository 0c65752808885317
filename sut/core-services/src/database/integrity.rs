//! Whether what was acknowledged is there: on each server, every item in the ledger with the checksum that it had.

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::ledger::{Checksum, Ledger};
use super::node::Node;
use super::query::Query;
use super::{Database, Error};

/// Items that are looked up at once.
const BATCH: usize = 1_000;
/// Ids in an answer at most; all are counted.
const NAMED: usize = 100;

/// The answer of `GET /admin/integrity`.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Items that this process acknowledged and checks.
    pub(crate) acknowledged: usize,
    /// Items that it acknowledged and cannot check, for the ledger was full.
    pub(crate) beyond: u64,
    /// What each server has of them, the primary first.
    pub(crate) servers: Vec<Found>,
}

/// What one server has of the ledger.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Found {
    server: String,
    /// Why it could not be checked; absent = it was.
    error: Option<String>,
    checked: usize,
    /// Lost on a primary; on a replica also what has not arrived yet.
    missing: usize,
    missing_ids: Vec<u64>,
    altered: usize,
    altered_ids: Vec<u64>,
}

impl Database {
    /// Reads all that was acknowledged back from every server, past bulkhead, breakers and caches.
    pub(crate) async fn integrity(&self) -> Report {
        let (acknowledged, beyond) = {
            let ledger = self.ledger();
            (ledger.len(), ledger.beyond())
        };
        let mut servers = Vec::new();
        for node in self.nodes() {
            let mut found = Found { server: node.name.clone(), ..Found::default() };
            if let Err(error) = self.check(node, acknowledged, &mut found).await {
                found.error = Some(error.to_string());
            }
            servers.push(found);
        }
        Report { acknowledged, beyond, servers }
    }

    pub(super) fn acknowledge(&self, id: u64, checksum: Checksum) {
        self.ledger().add(id, checksum);
    }

    async fn check(&self, node: &Node, acknowledged: usize, found: &mut Found) -> Result<(), Error> {
        while found.checked < acknowledged {
            let limit = BATCH.min(acknowledged - found.checked);
            let part = self.ledger().part(found.checked, limit);
            let ids = part.iter().map(|(id, _)| *id).collect();
            let answer = node.ask(Duration::ZERO, Query::Items(ids)).await?;
            let there: HashMap<_, _> =
                answer.items.iter().map(|item| (item.id, Checksum::of(item))).collect();
            for (id, checksum) in part {
                match there.get(&id) {
                    Some(present) if *present == checksum => {}
                    Some(_) => note(&mut found.altered, &mut found.altered_ids, id),
                    None => note(&mut found.missing, &mut found.missing_ids, id),
                }
                found.checked += 1;
            }
        }
        Ok(())
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn note(count: &mut usize, ids: &mut Vec<u64>, id: u64) {
    *count += 1;
    if ids.len() < NAMED {
        ids.push(id);
    }
}
