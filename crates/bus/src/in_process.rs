//! The transport within one process: channels, and the embedded store for records.

use store::Store;

pub(crate) mod logs;
pub(crate) mod servers;
pub(crate) mod topics;

use logs::Logs;
use servers::Servers;
use topics::Topics;

#[derive(Debug)]
pub(crate) struct InProcess {
    pub(crate) topics: Topics,
    pub(crate) servers: Servers,
    pub(crate) logs: Logs,
}

impl InProcess {
    pub(crate) fn new(store: Store) -> Self {
        Self { topics: Topics::default(), servers: Servers::default(), logs: Logs::new(store) }
    }
}
