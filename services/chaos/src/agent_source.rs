//! Where the fault agent comes from: it is started when something needs it, and undoes first what a former one left.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fault_agent::{Agent, CloseError};
use service::Tasks;

use crate::backends::agent::{AgentBackend, Leftovers};

/// The agent's directory within the state directory.
const DIR: &str = "agent";

/// The one agent of the service, if it was needed yet.
pub(crate) struct AgentSource {
    command: Vec<OsString>,
    dir: PathBuf,
    lease: Duration,
    tasks: Tasks,
    agent: tokio::sync::Mutex<Option<Arc<AgentBackend>>>,
    leftovers: Leftovers,
}

impl AgentSource {
    pub(crate) fn new(
        command: Vec<OsString>,
        state_dir: &std::path::Path,
        lease: Duration,
        tasks: Tasks,
    ) -> Self {
        let (agent, leftovers) = (tokio::sync::Mutex::new(None), Arc::new(Mutex::new(BTreeMap::new())));
        Self { command, dir: state_dir.join(DIR), lease, tasks, agent, leftovers }
    }

    /// The agent, started if need be.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn get(&self) -> Result<Arc<AgentBackend>, String> {
        let mut present = self.agent.lock().await;
        if let Some(agent) = present.as_ref().filter(|agent| !agent.is_gone()) {
            return Ok(Arc::clone(agent));
        }
        let options = fault_agent::Options {
            lease: self.lease,
            ..fault_agent::Options::new(self.command.iter(), &self.dir)
        };
        let started = Agent::start(options, &self.tasks).await;
        let (agent, events) = started.map_err(|error| error.to_string())?;
        let leftovers = Arc::clone(&self.leftovers);
        let agent = Arc::new(AgentBackend::new(agent, events, leftovers, &self.tasks));
        *present = Some(Arc::clone(&agent));
        Ok(agent)
    }

    /// Has what an earlier agent left undone, if one ever worked here.
    pub(crate) async fn clean_up(&self) {
        let worked = std::fs::read_dir(&self.dir).is_ok_and(|mut files| files.next().is_some());
        if !worked {
            return;
        }
        if let Err(error) = self.get().await {
            let dir = self.dir.display();
            tracing::error!(%error, %dir, "what an earlier fault agent may have left cannot be looked for");
        }
    }

    /// What cannot be undone, by fault, with what is to be done by hand.
    pub(crate) fn leftovers(&self) -> BTreeMap<String, String> {
        self.leftovers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where its journal is.
    pub(crate) fn dir(&self) -> &std::path::Path {
        &self.dir
    }

    /// Ends the agent, if there is one: whatever it still holds is undone.
    pub(crate) async fn close(&self) -> Result<(), CloseError> {
        let agent = self.agent.lock().await.take();
        match agent {
            Some(agent) => agent.close().await,
            None => Ok(()),
        }
    }
}
