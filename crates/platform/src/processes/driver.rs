//! The driver's side of the seam.

use std::net::SocketAddr;

use async_trait::async_trait;

use super::state_dir::Record;
use super::{Events, Processes, log, members, observe, sockets, system, version};
use crate::PlatformError;
use crate::driver::{EventSource, Platform};
use crate::identity::ProcessId;
use crate::instance::{Asked, Instance, InstanceId, Started, Stopped};

impl Processes {
    /// Starts and ends from now on, for who looks now and then instead of waiting.
    ///
    /// # Errors
    /// When the state directory cannot be read.
    pub fn watch(&self) -> Result<Events, PlatformError> {
        Events::new(self.dir.clone())
    }

    /// Waits until the present generation has ended, and returns how: `exit code 1`, `signal 9`.
    ///
    /// # Errors
    /// When there is no such instance, or it was never started.
    pub async fn exited(&self, id: &InstanceId) -> Result<String, PlatformError> {
        let record = self.dir.known(id)?;
        if record.generation == 0 {
            return Err(self.not_running(&record));
        }
        observe::exited(&self.dir, &record).await
    }

    /// Every living process of an instance, its leader first.
    ///
    /// # Errors
    /// When there is no such instance, or `/proc` cannot be read.
    pub fn members(&self, id: &InstanceId) -> Result<Vec<ProcessId>, PlatformError> {
        let record = self.dir.known(id)?;
        members::all(&self.dir, &record).map_err(system(id, "looking for its processes"))
    }

    pub(super) fn not_running(&self, record: &Record) -> PlatformError {
        let found = match record.generation {
            0 => "never started".to_owned(),
            _ => self.dir.exit(record).map_or_else(|| "ended".to_owned(), |exit| exit.status),
        };
        PlatformError::NotRunning { name: record.name(), found }
    }

    fn running(&self, id: &InstanceId) -> Result<(Record, ProcessId), PlatformError> {
        let record = self.dir.known(id)?;
        match observe::alive(&record)? {
            Some(leader) => Ok((record, leader.id().clone())),
            None => Err(self.not_running(&record)),
        }
    }
}

#[async_trait]
impl Platform for Processes {
    async fn instances(&self) -> Result<Vec<Instance>, PlatformError> {
        self.dir.records()?.iter().map(|record| observe::instance(&self.dir, record)).collect()
    }

    async fn instance(&self, id: &InstanceId) -> Result<Instance, PlatformError> {
        observe::instance(&self.dir, &self.dir.known(id)?)
    }

    async fn start(&self, id: &InstanceId) -> Result<Started, PlatformError> {
        self.start_and_wait(id).await
    }

    async fn stop(&self, id: &InstanceId) -> Result<Stopped, PlatformError> {
        self.end_gracefully(id).await
    }

    async fn kill(&self, id: &InstanceId) -> Result<Stopped, PlatformError> {
        self.end_at_once(id).await
    }

    async fn pause(&self, id: &InstanceId) -> Result<(), PlatformError> {
        self.freeze(id).await
    }

    async fn resume(&self, id: &InstanceId) -> Result<(), PlatformError> {
        self.thaw(id).await
    }

    async fn expect_exit(&self, id: &InstanceId, asked: Asked) -> Result<(), PlatformError> {
        let record = self.dir.known(id)?;
        self.dir.ask(&record, asked)
    }

    async fn addresses(&self, id: &InstanceId) -> Result<Vec<SocketAddr>, PlatformError> {
        let (record, _) = self.running(id)?;
        let all = members::all(&self.dir, &record).and_then(|members| sockets::listening(&members));
        all.map_err(system(id, "looking for its sockets"))
    }

    async fn version(&self, id: &InstanceId) -> Result<String, PlatformError> {
        let (_, process) = self.running(id)?;
        // It reads a file of many megabytes.
        let read = tokio::task::spawn_blocking(move || version::of(&process)).await;
        read.map_err(std::io::Error::other).flatten().map_err(system(id, "reading its program"))
    }

    async fn logs(&self, id: &InstanceId, lines: usize) -> Result<Vec<String>, PlatformError> {
        let record = self.dir.known(id)?;
        if record.generation == 0 {
            return Ok(Vec::new());
        }
        Ok(log::last_lines(&record.log, record.log_from, lines))
    }

    fn events(&self) -> Result<Box<dyn EventSource>, PlatformError> {
        Ok(Box::new(self.watch()?))
    }
}
