//! One run, from its acceptance to its verdict: a state machine in a task of its own.
//!
//! prepare (processes, workers, monitoring) → for each phase: check → execute → collect → decide → end (release everything,
//! judge, write the verdict). Requests by hand are answered in every state; a stop is heard in every state.

pub(crate) mod bystanders;
mod chaos;
mod close;
mod collect;
mod execute;
mod fleet;
mod live;
mod membership;
mod past;
mod prepare;
mod recovery;
mod resume;
mod shed;
mod steer;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use plan::model::{Phase, Plan};
use protocol::event::{Event, ScenarioNames};
use protocol::id::{RunId, WorkerId};
use protocol::v1;
use service::traces::{untraced, within};
use store::{RunState, Store, StoreError};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::control::{Action, Inbox, Signal};
use crate::decision::thresholds::Watched;
use crate::decision::validity::Trap;
use crate::history::History;
use crate::links::{self, LinkError, Load, Metrics};
use crate::news::News;
use crate::objectives::evidence::{Incident, Measured};
use crate::processes::Processes;
use crate::verdict::{Reason, stop_code};
use crate::workers::Workers;
use bystanders::Bystanders;
use fleet::Fleet;
pub(crate) use past::Past;

/// What ends a run before its time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// A reason for the verdict.
    #[error("{}", .0.text)]
    Reason(Reason),
    /// Several at once, found together.
    #[error("{} problems", .0.len())]
    Reasons(Vec<Reason>),
    /// `metrics` does not answer, or will not.
    #[error(transparent)]
    Metrics(LinkError),
    /// The store failed: nothing more can be announced.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Guests' faults by phase, written by whoever consumes their records.
pub(crate) type Traps = Arc<Mutex<Vec<(u32, Trap)>>>;

/// What does not change during a run.
pub(crate) struct Context {
    pub(crate) id: RunId,
    pub(crate) plan: Plan,
    /// The plan's phases, scaled.
    pub(crate) phases: Vec<Phase>,
    pub(crate) plan_digest: String,
    pub(crate) files: Vec<v1::BundleFile>,
    pub(crate) base_dir: PathBuf,
    pub(crate) run_dir: PathBuf,
    pub(crate) lead: Duration,
    /// Workers are not in this process: they may be lost, come back and join.
    pub(crate) apart: bool,
    pub(crate) least_workers: usize,
    pub(crate) clock: Clock,
    pub(crate) store: Store,
    pub(crate) history: History,
    pub(crate) metrics: Metrics,
    pub(crate) load: Load,
    pub(crate) chaos: links::Chaos,
    pub(crate) recovery: links::Recovery,
    pub(crate) workers: Workers,
    pub(crate) traps: Traps,
    /// What chaos and recovery told.
    pub(crate) news: News,
}

/// A run on its way.
pub(crate) struct Run {
    ctx: Arc<Context>,
    inbox: Inbox,
    processes: Processes,
    bystanders: Bystanders,
    /// Workers that take part; a lost one is taken out.
    fleet: Fleet,
    /// The guests' steps and checks, as all workers read them.
    steps: Vec<v1::ScenarioSteps>,
    names: Vec<ScenarioNames>,
    /// Thresholds over the whole run.
    thresholds: Vec<Watched>,
    /// Thresholds of each phase, until it begins.
    phase_thresholds: Vec<Vec<Watched>>,
    done: Vec<Measured>,
    /// Every stretch in which a target was not healthy.
    incidents: Vec<Incident>,
    /// Since when this scheduler has had the run.
    since: Instant,
    /// Start of the first phase.
    began: Option<Instant>,
    watching: bool,
    metrics_lost: bool,
    reasons: Vec<Reason>,
}

impl Run {
    pub(crate) fn new(ctx: Context, inbox: Inbox) -> Self {
        Self {
            ctx: Arc::new(ctx),
            inbox,
            processes: Processes::default(),
            bystanders: Bystanders::default(),
            fleet: Fleet::default(),
            steps: Vec::new(),
            names: Vec::new(),
            thresholds: Vec::new(),
            phase_thresholds: Vec::new(),
            done: Vec::new(),
            incidents: Vec::new(),
            since: Instant::now(),
            began: None,
            watching: false,
            metrics_lost: false,
            reasons: Vec::new(),
        }
    }

    /// Drives the run to its verdict, from its begin or from where its past ends. Nothing of it is left running on return,
    /// whatever came of it.
    ///
    /// # Errors
    /// When the store fails: then the run has no verdict; on workers that are apart everything is left as it is.
    /// [`StoreError::HistoryGap`]: another scheduler goes on with it.
    pub(crate) async fn drive(mut self, past: Option<Past>) -> Result<(), StoreError> {
        match self.phases(past).await {
            Ok(()) => {}
            Err(Trouble::Reason(reason)) => self.reasons.push(reason),
            Err(Trouble::Reasons(reasons)) => self.reasons.extend(reasons),
            Err(Trouble::Metrics(error)) => {
                let reason = self.metrics_gone(&error).await?;
                self.reasons.push(reason);
            }
            // Another scheduler goes on with it, or this one when it has a store again, or workers end it by themselves.
            Err(Trouble::Store(error)) if self.ctx.apart => {
                tracing::error!(run = %self.ctx.id, %error, "the run cannot be recorded any more and is left to whoever can");
                return Err(error);
            }
            Err(Trouble::Store(error)) => {
                tracing::error!(run = %self.ctx.id, %error, "the run cannot be recorded any more and is ended");
                self.release().await;
                return Err(error);
            }
        }
        self.close().await
    }

    async fn phases(&mut self, past: Option<Past>) -> Result<(), Trouble> {
        self.ctx.store.set_run_state(self.ctx.id, RunState::Running).await?;
        let first = match past {
            None => {
                let span = service::span!("prepare", gauntlet.run.id = %self.ctx.id);
                within(span, self.prepare()).await?;
                0
            }
            Some(past) => self.take_up(past).await?,
        };
        for index in first..self.ctx.phases.len() {
            within(self.phase_span(index), self.phase(index)).await?;
        }
        Ok(())
    }

    async fn phase(&mut self, index: usize) -> Result<(), Trouble> {
        self.muster().await?;
        // It asks again and again, until all is well.
        within(service::span!("check"), untraced(self.check(index))).await?;
        self.execute(index, false).await
    }

    /// The span of a phase.
    fn phase_span(&self, index: usize) -> tracing::Span {
        let name = self.ctx.phases[index].name.name();
        service::span!(
            "phase",
            otel.name = format!("phase {name}"),
            gauntlet.run.id = %self.ctx.id,
            gauntlet.phase.index = index,
            gauntlet.phase.name = name
        )
    }

    /// The workers whose loss between phases ends the run: those of one process. Others are looked for at its begin.
    fn indispensable(&self) -> Vec<WorkerId> {
        if self.ctx.apart { Vec::new() } else { self.fleet.ids() }
    }

    /// The checks before a phase.
    async fn check(&mut self, index: usize) -> Result<(), Trouble> {
        if !self.ctx.plan.control.validate {
            return Ok(());
        }
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        let doing = format!("the checks before phase {} are under way", self.ctx.phases[index].name.name());
        let ctx = Arc::clone(&self.ctx);
        let (ids, threads) = (self.fleet.ids(), self.fleet.load_threads());
        let checks = crate::validation::before_phase(&ctx, index, &ids, threads);
        let checks = async { Ok(checks.await) };
        let vital = self.indispensable();
        let checks = during(&mut self.inbox, &self.ctx, &vital, doing.as_str(), checks).await?;
        // Then nobody waits for it any more.
        self.metrics_lost |= checks.metrics_lost;
        let name = self.ctx.phases[index].name;
        let failed: Vec<Reason> =
            checks.list.iter().filter(|check| !check.passed).map(|check| check.reason(name)).collect();
        self.ctx
            .history
            .append_all(checks.list.into_iter().map(|check| check.event(number)).collect())
            .await?;
        if failed.is_empty() { Ok(()) } else { Err(Trouble::Reasons(failed)) }
    }
}

impl Context {
    /// What load-workers prepare for.
    fn bundle<'a>(&'a self, detours: &'a [v1::Detour]) -> links::Bundle<'a> {
        links::Bundle { plan_digest: &self.plan_digest, files: &self.files, detours }
    }

    /// The phase's guest faults so far.
    fn traps_of(&self, phase: u32) -> Vec<Trap> {
        let traps = self.traps.lock().unwrap_or_else(PoisonError::into_inner);
        traps.iter().filter(|(of, _)| *of == phase).map(|(_, trap)| trap.clone()).collect()
    }

    /// Notes who asked the run to stop; the reason for the verdict.
    async fn stop_requested(&self, by: &str) -> Result<Reason, StoreError> {
        let exit_code = stop_code(by);
        self.history.append(Event::StopRequested { by: by.to_owned(), exit_code }).await?;
        Ok(Reason::new(exit_code, format!("stopped by {by}")))
    }

    /// Notes that a worker is lost; the reason for the verdict.
    async fn worker_lost(&self, id: WorkerId, detail: &str) -> Result<Reason, StoreError> {
        let (worker, change, detail) = (id.to_string(), "lost".to_owned(), detail.to_owned());
        self.history
            .append(Event::WorkerChanged { worker, change, detail: detail.clone(), clock: None, life: None })
            .await?;
        let by = format!("lost service load-worker {id}");
        let exit_code = crate::verdict::code::ABORTED;
        self.history.append(Event::StopRequested { by: by.clone(), exit_code }).await?;
        Ok(Reason::new(exit_code, format!("{by}: {detail}")))
    }
}

/// What is said of a worker that fell silent.
fn silence(lasted: Duration) -> String {
    if lasted == Duration::MAX {
        "never heard".to_owned()
    } else {
        format!("no heartbeat for {} s", crate::figures::plain(lasted.as_secs_f64()))
    }
}

/// What becomes of requests while something is done, which the text names.
#[derive(Clone, Copy)]
enum Asked<'a> {
    /// There is nothing that they could act on.
    IsRefused(&'a str),
    /// There will be in a moment.
    Waits(&'a str),
}

impl<'a> From<&'a str> for Asked<'a> {
    fn from(doing: &'a str) -> Self {
        Self::IsRefused(doing)
    }
}

/// Does `work` between phases: a stop ends it, other requests are refused or wait, and a lost worker ends it.
async fn during<'a, T>(
    inbox: &mut Inbox,
    ctx: &Context,
    assigned: &[WorkerId],
    asked: impl Into<Asked<'a>>,
    work: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    let asked = asked.into();
    let mut work = std::pin::pin!(work);
    let mut lost = std::pin::pin!(ctx.workers.lost(assigned, ctx.plan.control.worker_timeout));
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            (id, lasted) = &mut lost => {
                return Err(Trouble::Reason(ctx.worker_lost(id, &silence(lasted)).await?));
            }
            signal = inbox.next() => match signal {
                Signal::Stop(by) => {
                    inbox.stopping();
                    return Err(Trouble::Reason(ctx.stop_requested(&by).await?));
                }
                Signal::Request(request) if request.action == Action::Stop => {
                    inbox.stopping();
                    let reason = ctx.stop_requested(&request.by).await?;
                    request.answer(Ok(()));
                    return Err(Trouble::Reason(reason));
                }
                Signal::Request(request) => match asked {
                    Asked::IsRefused(doing) => {
                        inbox.refuse(request, &format!("no phase is running: {doing}"));
                    }
                    Asked::Waits(doing) => inbox.put_off(request, doing),
                },
            },
        }
    }
}
