//! The controller's side: starts an agent, renews its leases, and has another one when it dies.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use fault_agent::{Action, Agent, Options};
//!
//! let tasks = service::Tasks::new(service::Shutdown::new());
//! let options = Options::new(["gauntlet-fault-agent"], "state/agent");
//! let (agent, mut events) = Agent::start(options, &tasks).await?;
//! let injected = agent.inject("busy-1", Action::Cpu { threads: 1 }, Duration::from_secs(20)).await?;
//! println!("in effect since {}: {}", injected.at_ms, injected.seen);
//! let ended = agent.end("busy-1").await?;
//! println!("gone: {}", ended.verified);
//! let closed = agent.close().await?;
//! # let _ = (closed, events.next().await); Ok(()) }
//! ```

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use platform::identity::ProcessId;
use service::{OnError, Tasks};
use tokio::sync::{mpsc, oneshot};

use crate::action::Action;
use crate::wire::{Ended, Injected, Refused, Unrecovered};

mod drive;
mod owed;
mod process;

/// Events that wait for a reader; when it is slow, the agent's answers wait, too.
const EVENTS: usize = 1024;
/// Requests on their way.
const ASKS: usize = 64;

/// How agents are started, and what they may do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program, and arguments before the agent's own: `[gauntlet-fault-agent]` or `[gauntlet, fault-agent]`.
    pub command: Vec<OsString>,
    /// Where the journal is; made when it is not there. One agent works in it at a time.
    pub state_dir: PathBuf,
    /// How long faults outlive a controller that says nothing. Default 5 s; the client renews five times in it, at most
    /// once a second.
    pub lease: Duration,
    /// The longest duration of a fault that is not refused. Default 1 h.
    pub longest: Duration,
    /// Memory that a fault leaves available, in bytes. Default 512 MiB.
    pub memory_reserve: u64,
    /// Disk space that a fault leaves available, in bytes. Default 16 MiB.
    pub disk_reserve: u64,
}

impl Options {
    /// Defaults, for an agent that is started by `command` and keeps its journal in `state_dir`.
    pub fn new(
        command: impl IntoIterator<Item = impl Into<OsString>>,
        state_dir: impl Into<PathBuf>,
    ) -> Self {
        let defaults = crate::Settings::default();
        Self {
            command: command.into_iter().map(Into::into).collect(),
            state_dir: state_dir.into(),
            lease: defaults.lease,
            longest: defaults.longest,
            memory_reserve: defaults.memory_reserve,
            disk_reserve: defaults.disk_reserve,
        }
    }
}

/// What happens by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A fault is over. Told once for each fault that began, however it ended, also when [`Agent::end`] returned the same;
    /// also, when an agent is started, for those of former controllers that were found in its journal.
    Ended(Ended),
    /// A fault could not be undone, or not shown to be. If it succeeds later, [`Event::Ended`] follows.
    Unrecovered(Unrecovered),
    /// The agent died or hung. Its guardian undoes what it held; another agent is being started.
    Lost {
        /// What was seen of its end.
        detail: String,
    },
    /// Another agent takes requests. All faults of the former one were told as ended or unrecovered before.
    Back {
        /// The agent's process.
        agent: ProcessId,
    },
    /// Another guardian watches, because the former one died or hung.
    Guardian {
        /// The new one.
        guardian: ProcessId,
        /// What became of the former one.
        why: String,
    },
    /// No agent could be started for a while, and none will be. Faults that had begun were told as unrecovered before,
    /// as nobody is there to show that they are undone.
    GaveUp {
        /// Why the last one could not be started.
        detail: String,
    },
}

/// What the agent tells by itself, in order.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::Receiver<Event>,
}

impl Events {
    /// The next one; `None` = the agent was closed or given up. Safe to drop and call anew, as in `select!`.
    pub async fn next(&mut self) -> Option<Event> {
        self.receiver.recv().await
    }

    /// The next one that was told already; `None` = there is none now.
    pub fn told(&mut self) -> Option<Event> {
        self.receiver.try_recv().ok()
    }
}

/// An agent could not be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fault agent {command}: {problem}; faults of this host need it")]
pub struct StartError {
    /// How it was started.
    pub command: String,
    /// What was found.
    pub problem: String,
}

/// A fault was not injected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InjectError {
    /// It was refused; nothing was touched, or what was is undone.
    #[error("{}; {}", .0.problem, .0.mend)]
    Refused(Refused),
    /// The agent died before it answered. What it had begun is undone and told by [`Event::Ended`] before [`Event::Back`].
    #[error("the fault agent died before it answered; what it had begun is undone")]
    Lost,
    /// There is no agent any more.
    #[error("there is no fault agent any more")]
    Gone,
}

/// A fault was not ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndError {
    /// It could not be undone, or not shown to be.
    #[error("{}", .0.detail)]
    Unrecovered(Unrecovered),
    /// There is none of this name: it has ended before, or never began.
    #[error("{}; {}", .0.problem, .0.mend)]
    Refused(Refused),
    /// There is no agent any more.
    #[error("there is no fault agent any more")]
    Gone,
}

/// The agent did not end well.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseError {
    /// Faults could not be undone, or not shown to be; each was told by [`Event::Unrecovered`].
    #[error("faults could not be undone: {0}")]
    Unrecovered(String),
    /// It ended in another way than it should, or not in time; what is left is undone by its guardian or the next start.
    #[error("the fault agent did not end well: {0}")]
    Agent(String),
}

/// A running agent, whichever process that is by now. Clones mean the same one. When the last is dropped without
/// [`Agent::close`], the agent undoes everything, too, but nobody hears how that went.
#[derive(Clone, Debug)]
pub struct Agent {
    asks: mpsc::Sender<Ask>,
}

/// What handles ask of the task that drives the process.
#[derive(Debug)]
enum Ask {
    Inject { id: String, action: Action, duration: Duration, lease: Option<Duration>, answer: InjectAnswer },
    End { id: String, answer: EndAnswer },
    Process { answer: oneshot::Sender<Option<ProcessId>> },
    Close { answer: oneshot::Sender<Result<(), CloseError>> },
}

type InjectAnswer = oneshot::Sender<Result<Injected, InjectError>>;
type EndAnswer = oneshot::Sender<Result<Ended, EndError>>;

impl Agent {
    /// Starts an agent and waits until it is ready: what a former one left is undone by then, and told by [`Events`].
    ///
    /// # Errors
    /// When the program cannot be started, or is not ready within 30 s: another agent works in the state directory, or the
    /// directory cannot be written.
    pub async fn start(options: Options, tasks: &Tasks) -> Result<(Self, Events), StartError> {
        let (asks, heard) = mpsc::channel(ASKS);
        let (events, receiver) = mpsc::channel(EVENTS);
        let (answer, ready) = oneshot::channel();
        let driver = drive::Driver::new(options, heard, events);
        tasks.spawn("fault agent", OnError::Log, async move {
            driver.run(answer).await;
            Ok::<(), std::convert::Infallible>(())
        });
        match ready.await {
            Ok(Ok(())) => Ok((Self { asks }, Events { receiver })),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(StartError { command: String::new(), problem: "its task was ended".to_owned() }),
        }
    }

    /// Begins a fault and waits until it is in effect. It ends by itself after `duration`, or when this process says nothing
    /// for as long as the lease.
    ///
    /// # Errors
    /// When it is refused, or the agent dies before it answers.
    pub async fn inject(
        &self,
        id: &str,
        action: Action,
        duration: Duration,
    ) -> Result<Injected, InjectError> {
        self.inject_leased(id, action, duration, None).await
    }

    /// As [`Agent::inject`], with a lease of its own; `None` = the agent's.
    ///
    /// # Errors
    /// As [`Agent::inject`].
    pub async fn inject_leased(
        &self,
        id: &str,
        action: Action,
        duration: Duration,
        lease: Option<Duration>,
    ) -> Result<Injected, InjectError> {
        let (answer, answered) = oneshot::channel();
        let ask = Ask::Inject { id: id.to_owned(), action, duration, lease, answer };
        self.asks.send(ask).await.map_err(|_| InjectError::Gone)?;
        answered.await.unwrap_or(Err(InjectError::Gone))
    }

    /// Ends a fault now and waits until it was seen to be undone, by this agent or, if it dies meanwhile, by the next.
    ///
    /// # Errors
    /// When there is none of this name, or it could not be undone.
    pub async fn end(&self, id: &str) -> Result<Ended, EndError> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(Ask::End { id: id.to_owned(), answer }).await.map_err(|_| EndError::Gone)?;
        answered.await.unwrap_or(Err(EndError::Gone))
    }

    /// The agent's process; `None` while another one is being started, and when it was closed.
    pub async fn process(&self) -> Option<ProcessId> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(Ask::Process { answer }).await.ok()?;
        answered.await.ok().flatten()
    }

    /// Undoes everything and ends the agent; waits until it has ended. Closing it again is no error.
    ///
    /// # Errors
    /// When a fault could not be undone, or the agent did not end within 30 s.
    pub async fn close(&self) -> Result<(), CloseError> {
        let (answer, answered) = oneshot::channel();
        if self.asks.send(Ask::Close { answer }).await.is_err() {
            return Ok(());
        }
        answered.await.unwrap_or(Ok(()))
    }
}
