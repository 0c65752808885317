//! The task that owns the worker's state: one command, event or interval after the other.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::{Address, Bus, Replier, SchedulerClock};
use protocol::id::RunId;
use protocol::v1;
use service::{OnError, Shutdown, Tasks, traces};
use tokio::sync::mpsc;
use tracing::Instrument as _;

use super::active::{Active, Heard};
use super::heartbeat::{Beat, Heartbeats, Pulse, host};
use super::prepare::{Terms, announced_threads, prepare, problem, spool_dir};
use super::scheduler_lost::SchedulerWatch;
use super::weight::strength;
use super::{Error, Options, orphanage};
use crate::lease::Lease;

/// How long a preparation that is under way may take to end when the worker does.
const WIND_UP: Duration = Duration::from_secs(2);
/// How long a worker that ends waits for its part of the running phase to be given to others.
const HAND_OVER: Duration = Duration::from_secs(3);
/// How long it waits at most, beside the plan's grace, for its last samples to be durable.
const LAST_SAMPLES: Duration = Duration::from_secs(5);
/// The lease of a worker without a run: the plan's default.
const TERM: Duration = Duration::from_secs(2);

/// What came of a preparation.
type Outcome = Result<Box<Active>, Vec<v1::Problem>>;

struct Worker {
    options: Arc<Options>,
    bus: Bus,
    tasks: Tasks,
    heartbeats: Heartbeats,
    prepared: mpsc::Sender<Outcome>,
    preparing: Option<Preparing>,
    active: Option<Box<Active>>,
    terms: Terms,
    scheduler: SchedulerWatch,
    /// It is to end; until when it waits for others to take its part.
    leaving: Option<Instant>,
}

/// A run that is being prepared.
struct Preparing {
    run: RunId,
    repliers: Vec<Replier<v1::PrepareRun>>,
    /// It was ended before it was ready.
    ended: bool,
}

pub(super) async fn run(mut options: Options, bus: Bus, shutdown: Shutdown) -> Result<(), Error> {
    let address = || Address::Instance(options.worker.to_string());
    let mut prepares = bus.serve::<v1::PrepareRun>(address()).await?;
    let mut starts = bus.serve::<v1::StartPhase>(address()).await?;
    let mut changes = bus.serve::<v1::ChangePhase>(address()).await?;
    let mut assigns = bus.serve::<v1::AssignSegment>(address()).await?;
    let mut scheduler_beats = bus.subscribe::<v1::SchedulerBeat>().await?;
    let mut ends = bus.serve::<v1::EndPhase>(address()).await?;
    let mut end_runs = bus.serve::<v1::EndRun>(address()).await?;

    let tasks = Tasks::new(shutdown.clone());
    let dir = spool_dir(&options.state_dir);
    tasks.spawn("orphan spools", OnError::Log, orphanage::publish(bus.clone(), dir));
    let terms = terms(&options, &bus, &tasks, &shutdown);
    // Before the first heartbeat: a run may begin with it.
    let strength = strength(&options).await;
    let pulse = Pulse {
        bus: bus.clone(),
        worker: options.worker,
        every: options.heartbeat,
        clock: terms.clock.clone(),
        host: host(),
        strength,
        lease: options.apart.map(|_| terms.lease.clone()),
    };
    let beat = Beat { load_threads: announced_threads(&options), ..idle() };
    let heartbeats = Heartbeats::start(pulse, beat).map_err(Error::Heartbeat)?;
    let ready = options.ready.take();
    let options = Arc::new(options);
    let (prepared, mut outcomes) = mpsc::channel(1);
    let mut worker = Worker {
        options,
        bus,
        tasks,
        heartbeats,
        prepared,
        preparing: None,
        active: None,
        terms,
        scheduler: SchedulerWatch::new(),
        leaving: None,
    };

    if let Some(ready) = ready {
        // Nobody may be waiting for it.
        let _ = ready.send(());
    }
    let ended = loop {
        let (leaving, gives_up_at) = (worker.leaving, worker.gives_up_at());
        let active = &mut worker.active;
        let due = active.as_ref().and_then(|a| a.due());
        let apart = worker.options.apart.is_some();
        let deserted = worker.scheduler.due(active.as_deref()).filter(|_| apart);
        let step = tokio::select! {
            () = shutdown.triggered(), if leaving.is_none() => {
                worker.leave();
                Ok(())
            }
            () = sleep_until(gives_up_at) => {
                worker.give_up();
                Ok(())
            }
            Some(request) = prepares.next() => {
                let (command, replier) = request.into_parts();
                worker.prepare(command, replier)
            }
            Some(request) = starts.next() => {
                let (command, replier) = request.into_parts();
                replier.reply(worker.start(&command).map(|()| v1::Ack {}));
                Ok(())
            }
            Some(request) = changes.next() => {
                let (command, replier) = request.into_parts();
                replier.reply(worker.run_of(&command.run).and_then(|a| a.change(&command)).map(|()| v1::Ack {}));
                Ok(())
            }
            Some(request) = assigns.next() => {
                let (command, replier) = request.into_parts();
                replier.reply(worker.run_of(&command.run).and_then(|a| a.assign(&command)).map(|()| v1::Ack {}));
                Ok(())
            }
            Some(beat) = scheduler_beats.next() => {
                if worker.run_of(&beat.run).is_ok() {
                    worker.scheduler.hear();
                }
                Ok(())
            }
            Some(request) = ends.next() => {
                let (command, replier) = request.into_parts();
                match worker.run_of(&command.run) {
                    Ok(active) => active.end(&command, replier),
                    Err(refusal) => replier.reply(Err(refusal)),
                }
                Ok(())
            }
            Some(request) = end_runs.next() => {
                let (command, replier) = request.into_parts();
                worker.end_run(&command.run).await;
                replier.reply(Ok(v1::Ack {}));
                Ok(())
            }
            Some(outcome) = outcomes.recv() => {
                worker.settle(outcome).await;
                Ok(())
            }
            heard = next_heard(active) => worker.hear(heard),
            () = sleep_until(due) => worker.turn().await,
            () = sleep_until(deserted) => {
                worker.go_on_alone().await;
                Ok(())
            }
        };
        if let Err(error) = step {
            break Err(error);
        }
        worker.announce();
        if worker.has_left() {
            break Ok(());
        }
    };
    drop((prepares, starts, changes, assigns, scheduler_beats, ends, end_runs));
    worker.wind_up(&mut outcomes).await;
    ended
}

/// What the run hears next; never, without a run.
async fn next_heard(active: &mut Option<Box<Active>>) -> Option<Heard> {
    match active {
        Some(active) => active.heard().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn idle() -> Beat {
    Beat { state: v1::heartbeat::State::Idle, term: TERM, ..Beat::default() }
}

/// Clock and lease of this worker; where it is apart from its scheduler, its clock is measured from now on.
fn terms(options: &Options, bus: &Bus, tasks: &Tasks, shutdown: &Shutdown) -> Terms {
    let Some(apart) = options.apart else {
        return Terms { clock: SchedulerClock::default(), lease: Lease::for_ever() };
    };
    let clock = SchedulerClock::shifted(apart.clock_shift_ns);
    let (measured, bus, shutdown) = (clock.clone(), bus.clone(), shutdown.clone());
    tasks.spawn("clock", OnError::Log, async move {
        measured.keep(bus, apart.clock_every, shutdown).await;
        Ok::<_, std::convert::Infallible>(())
    });
    Terms { clock, lease: Lease::for_now(TERM) }
}

impl Worker {
    /// The run that a command is about.
    fn run_of(&mut self, run: &[u8]) -> Result<&mut Active, String> {
        match &mut self.active {
            Some(active) if active.owner().run.to_bytes() == run => Ok(active),
            _ => Err("this worker has not prepared the run".to_owned()),
        }
    }

    /// Begins a phase. What was to end without the scheduler is over with the phase before: it is here again.
    fn start(&mut self, command: &v1::StartPhase) -> Result<(), String> {
        if self.run_of(&command.run)?.start(command)? {
            self.scheduler.begin();
        }
        Ok(())
    }

    fn prepare(&mut self, command: v1::PrepareRun, replier: Replier<v1::PrepareRun>) -> Result<(), Error> {
        let run = match RunId::from_bytes(&command.run) {
            Ok(run) => run,
            Err(error) => {
                replier.reply(Err(error.to_string()));
                return Ok(());
            }
        };
        if let Some(active) = &self.active {
            let busy = active.owner().run;
            let same = || Ok(active.reply().clone());
            replier.reply(if busy == run {
                same()
            } else {
                Err(format!("this worker is busy with run {busy}"))
            });
            return Ok(());
        }
        if let Some(preparing) = &mut self.preparing {
            if preparing.run == run && !preparing.ended {
                preparing.repliers.push(replier);
            } else {
                replier.reply(Err(format!("this worker is busy with run {}", preparing.run)));
            }
            return Ok(());
        }
        let span = replier.span().clone();
        self.preparing = Some(Preparing { run, repliers: vec![replier], ended: false });
        let (options, bus, prepared) = (Arc::clone(&self.options), self.bus.clone(), self.prepared.clone());
        let terms = self.terms.clone();
        self.tasks.spawn("prepare run", OnError::Log, async move {
            // A task of its own: should it panic, the caller is told.
            let guard = Told(Some(prepared));
            let outcome = prepare(&options, &bus, &terms, run, &command).instrument(span).await;
            guard.tell(outcome).await;
            Ok::<_, std::convert::Infallible>(())
        });
        Ok(())
    }

    /// A preparation has come to its end.
    async fn settle(&mut self, outcome: Outcome) {
        let Some(Preparing { repliers, ended, .. }) = self.preparing.take() else { return };
        let answer = match outcome {
            Ok(active) if ended => {
                active.finish(&self.bus).await;
                Err("the run was ended while it was being prepared".to_owned())
            }
            Ok(active) => {
                let reply = active.reply().clone();
                self.active = Some(active);
                self.scheduler.begin();
                Ok(reply)
            }
            Err(problems) => Ok(v1::PrepareRunReply { problems, ..v1::PrepareRunReply::default() }),
        };
        for replier in repliers {
            if let Some(problem) = answer.as_ref().ok().and_then(|reply| reply.problems.first()) {
                traces::failed(replier.span(), &problem.message);
            }
            replier.reply(answer.clone());
        }
    }

    /// Ends a run; one that is not here has ended already.
    async fn end_run(&mut self, run: &[u8]) {
        if let Some(preparing) = &mut self.preparing
            && preparing.run.to_bytes() == run
        {
            preparing.ended = true;
        }
        if let Some(active) = self.active.take_if(|a| a.owner().run.to_bytes() == run) {
            active.finish(&self.bus).await;
        }
    }

    /// Nothing was heard of the scheduler for as long as the plan allows.
    async fn go_on_alone(&mut self) {
        let Some(active) = &mut self.active else { return };
        if self.scheduler.turn(active, Instant::now())
            && let Some(active) = self.active.take()
        {
            tracing::warn!(run = %active.owner().run, "the run is given up: its scheduler did not come back");
            active.finish(&self.bus).await;
        }
    }

    fn hear(&mut self, heard: Option<Heard>) -> Result<(), Error> {
        match (heard, &mut self.active) {
            (Some(heard), Some(active)) => active.hear(heard),
            // All threads have ended, and none said why.
            (None, Some(_)) => {
                Err(Error::LoadThread { thread: 0, message: "all load threads are gone".to_owned() })
            }
            (_, None) => Ok(()),
        }
    }

    async fn turn(&mut self) -> Result<(), Error> {
        match &mut self.active {
            Some(active) => active.turn(&self.bus).await,
            None => Ok(()),
        }
    }

    /// The worker is to end. One that is apart from its scheduler first waits for others to take its part.
    fn leave(&mut self) {
        let patience = if self.options.apart.is_some() { HAND_OVER } else { Duration::ZERO };
        self.leaving = Some(Instant::now() + patience);
    }

    /// When a worker that leaves ends its part of the phase: where others begin, or when its patience is at an end.
    fn gives_up_at(&self) -> Option<Instant> {
        let patience = self.leaving?;
        let phase = self.active.as_ref()?.phase.as_ref().filter(|phase| phase.sends())?;
        Some(phase.given_up_at().map_or(patience, |given_up| given_up.min(patience)))
    }

    fn give_up(&mut self) {
        if let Some(active) = &mut self.active {
            active.end_alone(true);
        }
    }

    /// Whether nothing keeps a worker that leaves.
    fn has_left(&self) -> bool {
        let Some(patience) = self.leaving else { return false };
        let Some(active) = self.active.as_deref().filter(|_| self.options.apart.is_some()) else {
            return true;
        };
        let busy = active.phase.as_ref().is_some_and(|phase| !phase.over && !phase.cut_off);
        !busy || Instant::now() > patience + active.setting.plan.load.grace + LAST_SAMPLES
    }

    /// Says in heartbeats how things stand.
    fn announce(&self) {
        let beat = match &self.active {
            Some(active) => {
                let (state, phase) = active.state();
                use v1::heartbeat::State;
                let state = match state {
                    _ if self.leaving.is_some() => State::Leaving,
                    State::Running if self.scheduler.ends_alone() => State::Ending,
                    state => state,
                };
                let load_threads = active.reply().load_threads;
                Beat {
                    run: Some(active.owner().run),
                    state,
                    phase,
                    load_threads,
                    incarnation: Some(active.owner().incarnation),
                    epoch: active.epoch,
                    term: active.setting.plan.control.worker_timeout,
                }
            }
            None => Beat { load_threads: announced_threads(&self.options), ..idle() },
        };
        self.heartbeats.say(beat);
    }

    /// Ends whatever is under way.
    async fn wind_up(mut self, outcomes: &mut mpsc::Receiver<Outcome>) {
        if let Some(active) = self.active.take() {
            active.finish(&self.bus).await;
        }
        if let Some(preparing) = &mut self.preparing {
            preparing.ended = true;
            let mut waiting = pin!(tokio::time::timeout(WIND_UP, outcomes.recv()));
            if let Ok(Some(outcome)) = (&mut waiting).await {
                self.settle(outcome).await;
            }
        }
        self.tasks.finish(WIND_UP).await;
    }
}

/// Tells the outcome, also when the preparation panics.
struct Told(Option<mpsc::Sender<Outcome>>);

impl Told {
    async fn tell(mut self, outcome: Outcome) {
        if let Some(sender) = self.0.take() {
            // The worker may have ended meanwhile; then nobody waits for it, and dropping it ends its threads.
            let _ = sender.send(outcome).await;
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if let Some(sender) = self.0.take() {
            let message = "preparing the run failed by a bug of ours; the log has its message";
            let _ =
                sender.try_send(Err(vec![problem(super::prepare::Kind::Environment, message, "report it")]));
        }
    }
}
