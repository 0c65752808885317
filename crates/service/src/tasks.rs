//! Tasks with a name, an owner and a meaning of failure.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::{Blame, ServiceError, Shutdown};

/// What the failure of a task means for the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The service cannot go on without it: trigger the shutdown.
    ShutDown,
    /// The service goes on; the failure is logged.
    Log,
}

/// A task that failed or panicked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("task {task}: {message}")]
pub struct Failure {
    /// The task's name.
    pub task: &'static str,
    /// Its error, or `panicked: …`.
    pub message: String,
}

/// How the message of a panic begins.
const PANICKED: &str = "panicked: ";

impl Failure {
    /// Whether the task panicked.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        self.message.starts_with(PANICKED)
    }
}

impl ServiceError for Failure {
    fn blame(&self) -> Blame {
        if self.is_panic() { Blame::Bug } else { Blame::Environment }
    }
}

/// The owner of a service's tasks. Clones share ownership; when the last one is dropped, tasks that still run are
/// aborted.
#[derive(Clone, Debug)]
pub struct Tasks {
    owner: Arc<Owner>,
}

#[derive(Debug)]
struct Owner {
    registry: Arc<Registry>,
}

#[derive(Debug)]
struct Registry {
    shutdown: Shutdown,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    running: BTreeMap<u64, (&'static str, Option<AbortHandle>)>,
    failures: Vec<Failure>,
}

impl Tasks {
    /// An owner without tasks. The failure of an [`OnError::ShutDown`] task triggers `shutdown`.
    #[must_use]
    pub fn new(shutdown: Shutdown) -> Self {
        let registry = Registry { shutdown, state: Mutex::default(), changed: Notify::new() };
        Self { owner: Arc::new(Owner { registry: Arc::new(registry) }) }
    }

    /// Runs `task` on the present tokio runtime until it ends. A panic counts as an error.
    pub fn spawn<E: Display + Send + 'static>(
        &self,
        name: &'static str,
        on_error: OnError,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let registry = Arc::clone(&self.owner.registry);
        let id = registry.enter(name);
        let guard = Entered { registry: Arc::clone(&registry), id };
        let run = async move {
            let guard = guard;
            if let Err(message) = caught(task).await {
                guard.registry.failed(name, on_error, message);
            }
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the one place that gives tasks a name and an owner"
        )]
        let handle = tokio::spawn(run);
        registry.started(id, handle.abort_handle());
    }

    /// The names of the tasks that have not ended.
    #[must_use]
    pub fn running(&self) -> Vec<&'static str> {
        self.owner.registry.running()
    }

    /// The tasks that failed so far, in the order in which they did.
    #[must_use]
    pub fn failures(&self) -> Vec<Failure> {
        self.owner.registry.lock().failures.clone()
    }

    /// Ends all tasks where they are, without waiting for them.
    pub fn abort(&self) {
        self.owner.registry.abort();
    }

    /// Waits until all tasks have ended, at most `deadline`; then aborts the others and returns their names. It does not
    /// trigger the shutdown: tasks that wait for it must be told before.
    pub async fn finish(&self, deadline: Duration) -> Vec<&'static str> {
        let registry = &self.owner.registry;
        let ended = async {
            loop {
                let changed = registry.changed.notified();
                let mut changed = pin!(changed);
                // Registered before the look, so that a task ending in between wakes us.
                changed.as_mut().enable();
                if registry.lock().running.is_empty() {
                    return;
                }
                changed.await;
            }
        };
        if tokio::time::timeout(deadline, ended).await.is_ok() {
            return Vec::new();
        }
        let left = registry.running();
        tracing::warn!(tasks = ?left, ?deadline, "tasks did not end in time and are aborted");
        registry.abort();
        left
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.registry.abort();
    }
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is a list that is valid between any two statements: a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, name: &'static str) -> u64 {
        let mut state = self.lock();
        state.next += 1;
        let id = state.next;
        state.running.insert(id, (name, None));
        id
    }

    fn started(&self, id: u64, handle: AbortHandle) {
        // The task may have ended already; then it is not in the list any more.
        if let Some((_, slot)) = self.lock().running.get_mut(&id) {
            *slot = Some(handle);
        }
    }

    fn running(&self) -> Vec<&'static str> {
        self.lock().running.values().map(|(name, _)| *name).collect()
    }

    fn failed(&self, task: &'static str, on_error: OnError, message: String) {
        let failure = Failure { task, message };
        tracing::error!(task, error = %failure.message, ?on_error, "task failed");
        let reason = failure.to_string();
        self.lock().failures.push(failure);
        if on_error == OnError::ShutDown {
            self.shutdown.trigger(reason);
        }
    }

    fn abort(&self) {
        let handles: Vec<_> = self.lock().running.values().filter_map(|(_, handle)| handle.clone()).collect();
        // Outside the lock: aborting drops futures, whose guards take it.
        for handle in handles {
            handle.abort();
        }
    }
}

/// Takes the task off the list however it ends: by itself, by a panic, or aborted.
struct Entered {
    registry: Arc<Registry>,
    id: u64,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.registry.lock().running.remove(&self.id);
        self.registry.changed.notify_waiters();
    }
}

/// Runs a task and makes a panic an error.
async fn caught<E: Display>(task: impl Future<Output = Result<(), E>>) -> Result<(), String> {
    let mut task = pin!(task);
    let polled = std::future::poll_fn(move |context| {
        // The future is never polled again after a panic, so nobody sees what it left half done.
        match std::panic::catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(result)) => Poll::Ready(result.map_err(|error| error.to_string())),
            Err(panic) => Poll::Ready(Err(format!("{PANICKED}{}", panic_text(&*panic)))),
        }
    });
    polled.await
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "without a message"
    }
}

#[cfg(test)]
mod tests;
