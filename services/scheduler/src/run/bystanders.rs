//! Chaos and recovery beside a run: opened before it, told of its phases, asked for the last word at their ends. Lost, each
//! ends the run; started anew, it gets the run again.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use plan::Plan;
use protocol::event::Event;
use protocol::v1;
use service::traces::untraced;
use store::StoreError;

use super::chaos::ChaosSide;
use super::recovery::RecoverySide;
use super::{Context, Trouble};
use crate::links::LinkError;
use crate::news::Teller;
use crate::verdict::{Reason, code};

/// How often in a phase it is looked whether they know the run.
const LOOK: Duration = Duration::from_secs(5);
/// How long what they told last may take to reach the history.
const NEWS: Duration = Duration::from_secs(10);

/// What is asked of both; on the heap, for it is larger than all that asks it.
pub(super) type Asked<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A phase as they are told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) index: u32,
    pub(super) t0_unix_ns: i64,
    pub(super) duration_ns: u64,
}

/// What one of them answered at an end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LastWord {
    /// Faults that could not be undone.
    pub(super) unrecovered: Vec<String>,
    /// Number of the last record.
    pub(super) last_sequence: u64,
}

/// What chaos and recovery have in common. Every command bears being given twice.
pub(super) trait Side {
    /// Who it is.
    const TELLER: Teller;
    /// Opens the run; what keeps it from beginning is in the answer.
    async fn open(&self, ctx: &Context) -> Result<Vec<v1::Problem>, LinkError>;
    /// A phase begins.
    async fn begin(&self, ctx: &Context, phase: Begun) -> Result<(), LinkError>;
    /// Whether it knows the run.
    async fn known(&self, ctx: &Context) -> Result<(), LinkError>;
    /// A phase ends.
    async fn end(&self, ctx: &Context, phase: u32, reason: &str) -> Result<LastWord, LinkError>;
    /// The run ends.
    async fn close(&self, ctx: &Context) -> Result<LastWord, LinkError>;
}

/// One of the two, for one run.
struct Beside<S> {
    ctx: Arc<Context>,
    side: S,
    /// It did not answer, and is asked no more.
    lost: AtomicBool,
    /// The phase under way.
    phase: Mutex<Option<Begun>>,
}

impl<S: Side> Beside<S> {
    const fn new(ctx: Arc<Context>, side: S) -> Self {
        Self { ctx, side, lost: AtomicBool::new(false), phase: Mutex::new(None) }
    }

    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    fn phase(&self) -> Option<Begun> {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_phase(&self, phase: Option<Begun>) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    async fn open(&self) -> Result<(), Trouble> {
        let problems = match self.side.open(&self.ctx).await {
            Ok(problems) => problems,
            Err(error) => return Err(self.trouble(error).await?),
        };
        if problems.is_empty() {
            return Ok(());
        }
        Err(Trouble::Reasons(problems.iter().map(super::prepare::problem_reason).collect()))
    }

    /// Does what `ask` does; to one that refuses the run is opened again first, for it may have been started anew, and then
    /// knows nothing of it.
    async fn ask<T, F>(&self, ask: impl Fn() -> F) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, LinkError>>,
    {
        let mut answer = ask().await;
        if let Err(LinkError::Refused { why, .. }) = &answer {
            self.ctx.news.started_anew(S::TELLER);
            self.open().await?;
            let name = S::TELLER.name();
            let message = format!("{name} did not go on with the run ({why}) and was given it again");
            self.ctx.history.append(Event::Notice { message }).await?;
            answer = ask().await;
        }
        match answer {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.trouble(error).await?),
        }
    }

    async fn begin(&self, phase: Begun) -> Result<(), Trouble> {
        self.ask(|| self.side.begin(&self.ctx, phase)).await?;
        self.set_phase(Some(phase));
        Ok(())
    }

    /// Makes sure that it knows the run, and the phase that is under way.
    async fn look(&self) -> Result<(), Trouble> {
        match (self.side.known(&self.ctx).await, self.phase()) {
            (Ok(()), _) => Ok(()),
            // Refused again, it is given the run, and then begins in the middle of the phase.
            (Err(LinkError::Refused { .. }), Some(phase)) => self.begin(phase).await,
            (Err(LinkError::Refused { .. }), None) => self.ask(|| self.side.known(&self.ctx)).await,
            (Err(error), _) => Err(self.trouble(error).await?),
        }
    }

    /// Ends the phase under way, and waits for all that there is to tell of it.
    async fn end(&self, reason: &str) -> Result<Vec<String>, Trouble> {
        let Some(phase) = self.phase().filter(|_| !self.is_lost()) else { return Ok(Vec::new()) };
        self.set_phase(None);
        let word = self.ask(|| self.side.end(&self.ctx, phase.index, reason)).await?;
        self.heard_out(word).await
    }

    async fn close(&self) -> Result<Vec<String>, Trouble> {
        if self.is_lost() {
            return Ok(Vec::new());
        }
        match self.side.close(&self.ctx).await {
            Ok(word) => self.heard_out(word).await,
            Err(LinkError::Refused { why, .. }) => {
                tracing::info!(run = %self.ctx.id, who = S::TELLER.name(), why, "it had not got the run");
                Ok(Vec::new())
            }
            Err(error) => Err(self.trouble(error).await?),
        }
    }

    async fn heard_out(&self, word: LastWord) -> Result<Vec<String>, Trouble> {
        let LastWord { unrecovered, last_sequence } = word;
        if !self.ctx.news.complete(S::TELLER, last_sequence, NEWS).await {
            let message = format!(
                "what {} told last has not reached the history within {} s",
                S::TELLER.name(),
                NEWS.as_secs()
            );
            self.ctx.history.append(Event::Notice { message }).await?;
        }
        Ok(unrecovered)
    }

    /// Notes that it is lost, or will not; the reason for the verdict.
    async fn trouble(&self, error: LinkError) -> Result<Trouble, StoreError> {
        let LinkError::Lost { detail, .. } = error else {
            return Ok(Trouble::Reason(Reason::new(code::ENVIRONMENT, error.to_string())));
        };
        let (by, exit_code) = (format!("lost service {}", S::TELLER.name()), code::ABORTED);
        if !self.lost.swap(true, Ordering::Relaxed) {
            self.ctx.history.append(Event::StopRequested { by: by.clone(), exit_code }).await?;
        }
        Ok(Trouble::Reason(Reason::new(exit_code, format!("{by}: {detail}"))))
    }
}

/// Both, as far as the plan needs them. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Bystanders {
    chaos: Option<Arc<Beside<ChaosSide>>>,
    recovery: Option<Arc<Beside<RecoverySide>>>,
}

impl Bystanders {
    /// Opens chaos, if the plan has something for it.
    pub(super) fn open_chaos(
        &mut self,
        ctx: &Arc<Context>,
        platform_dir: &str,
    ) -> Asked<Result<(), Trouble>> {
        if needs_chaos(&ctx.plan) {
            let side = ChaosSide::new(platform_dir.to_owned());
            self.chaos = Some(Arc::new(Beside::new(Arc::clone(ctx), side)));
        }
        let chaos = self.chaos.clone();
        Box::pin(async move {
            match chaos {
                Some(chaos) => chaos.open().await,
                None => Ok(()),
            }
        })
    }

    /// Opens recovery, if the plan has something for it. After chaos, which says where the proxy is.
    pub(super) fn open_recovery(
        &mut self,
        ctx: &Arc<Context>,
        platform_dir: &str,
    ) -> Asked<Result<(), Trouble>> {
        if needs_recovery(&ctx.plan) {
            let proxy = self.chaos.as_ref().map(|chaos| chaos.side.agreed()).unwrap_or_default();
            let side = RecoverySide::new(platform_dir.to_owned(), proxy);
            self.recovery = Some(Arc::new(Beside::new(Arc::clone(ctx), side)));
        }
        let recovery = self.recovery.clone();
        Box::pin(async move {
            match recovery {
                Some(recovery) => recovery.open().await,
                None => Ok(()),
            }
        })
    }

    /// Where load goes instead of directly.
    pub(super) fn detours(&self) -> Vec<v1::Detour> {
        self.chaos.as_ref().map(|chaos| chaos.side.agreed().detours).unwrap_or_default()
    }

    /// Tells both that a phase begins.
    pub(super) fn begin_phase(&self, phase: Begun) -> Asked<Result<(), Trouble>> {
        let both = self.clone();
        Box::pin(async move {
            if let Some(chaos) = &both.chaos {
                chaos.begin(phase).await?;
            }
            match &both.recovery {
                Some(recovery) => {
                    both.tell_proxy(recovery).await?;
                    recovery.begin(phase).await
                }
                None => Ok(()),
            }
        })
    }

    /// Tells recovery where the fault proxy is, if that has changed since it was told.
    async fn tell_proxy(&self, recovery: &Beside<RecoverySide>) -> Result<(), Trouble> {
        match &self.chaos {
            Some(chaos) if recovery.side.take_proxy(chaos.side.agreed()) => recovery.open().await,
            _ => Ok(()),
        }
    }

    /// Looks after a while whether both know the run; `None` = there is nobody to look at.
    pub(super) fn look(&self) -> Option<Asked<Result<(), Trouble>>> {
        if self.chaos.is_none() && self.recovery.is_none() {
            return None;
        }
        let both = self.clone();
        // One every few seconds would drown the rest of the trace.
        Some(Box::pin(untraced(async move {
            tokio::time::sleep(LOOK).await;
            if let Some(chaos) = &both.chaos {
                chaos.look().await?;
            }
            match &both.recovery {
                Some(recovery) => {
                    both.tell_proxy(recovery).await?;
                    recovery.look().await
                }
                None => Ok(()),
            }
        })))
    }

    /// Has every fault of the phase ended and undone, then asks recovery for its last word; faults that could not be undone.
    pub(super) fn end_phase(&self, reason: String) -> Asked<Result<Vec<String>, Trouble>> {
        let both = self.clone();
        Box::pin(async move {
            let chaos = match &both.chaos {
                Some(chaos) => chaos.end(&reason).await,
                None => Ok(Vec::new()),
            };
            let recovery = match &both.recovery {
                Some(recovery) => recovery.end(&reason).await,
                None => Ok(Vec::new()),
            };
            recovery.and(chaos)
        })
    }

    /// Closes both: nothing is started again, no fault is left. Faults that could not be undone, and what went wrong.
    pub(super) fn close(self) -> Asked<(Vec<String>, Vec<Trouble>)> {
        Box::pin(async move {
            let mut troubles = Vec::new();
            if let Some(recovery) = &self.recovery {
                troubles.extend(recovery.close().await.err());
            }
            let unrecovered = match &self.chaos {
                Some(chaos) => chaos.close().await,
                None => Ok(Vec::new()),
            };
            let unrecovered = unrecovered.unwrap_or_else(|trouble| {
                troubles.push(trouble);
                Vec::new()
            });
            (unrecovered, troubles)
        })
    }
}

/// Whether there is something for chaos: faults, targets that somebody may hit by hand, or a failover by its proxy.
pub(crate) fn needs_chaos(plan: &Plan) -> bool {
    let failover =
        |recovery: &plan::model::Recovery| recovery.strategy.contains(&plan::model::Strategy::Failover);
    !plan.chaos.is_empty()
        || plan.targets.iter().any(|target| target.chaos.is_some())
        || plan.recovery.values().any(failover)
}

/// Whether there is something for recovery.
pub(crate) fn needs_recovery(plan: &Plan) -> bool {
    !plan.recovery.is_empty()
}

/// Waits for the look that is under way; for ever if there is none.
pub(super) async fn looked(looking: &mut Option<Asked<Result<(), Trouble>>>) -> Result<(), Trouble> {
    match looking {
        Some(look) => look.await,
        None => std::future::pending().await,
    }
}
