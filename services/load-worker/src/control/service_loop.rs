//! The task that owns the worker's state: one command, event or interval after the other.

use std::pin::pin;
use std::time::{Duration, Instant};

use bus::{Address, Bus, Replier};
use protocol::id::RunId;
use protocol::v1;
use service::{OnError, Shutdown, Tasks};
use tokio::sync::mpsc;

use super::active::Active;
use super::heartbeat::{Beat, Heartbeats};
use super::prepare::{announced_threads, prepare, problem, spool_dir};
use super::{Error, Options, orphanage};
use crate::spec::EngineEvent;

/// How long a preparation that is under way may take to end when the worker does.
const WIND_UP: Duration = Duration::from_secs(2);

/// What came of a preparation.
type Outcome = Result<Box<Active>, Vec<v1::Problem>>;

struct Worker {
    options: Options,
    bus: Bus,
    tasks: Tasks,
    heartbeats: Heartbeats,
    prepared: mpsc::Sender<Outcome>,
    preparing: Option<Preparing>,
    active: Option<Box<Active>>,
}

/// A run that is being prepared.
struct Preparing {
    run: RunId,
    repliers: Vec<Replier<v1::PrepareRun>>,
    /// It was ended before it was ready.
    ended: bool,
}

pub(super) async fn run(options: Options, bus: Bus, shutdown: Shutdown) -> Result<(), Error> {
    let address = || Address::Instance(options.worker.to_string());
    let mut prepares = bus.serve::<v1::PrepareRun>(address()).await?;
    let mut starts = bus.serve::<v1::StartPhase>(address()).await?;
    let mut changes = bus.serve::<v1::ChangePhase>(address()).await?;
    let mut ends = bus.serve::<v1::EndPhase>(address()).await?;
    let mut end_runs = bus.serve::<v1::EndRun>(address()).await?;

    let tasks = Tasks::new(shutdown.clone());
    let dir = spool_dir(&options.state_dir);
    tasks.spawn("orphan spools", OnError::Log, orphanage::publish(bus.clone(), dir));
    let beat = Beat { load_threads: announced_threads(&options), ..idle() };
    let heartbeats =
        Heartbeats::start(bus.clone(), options.worker, options.heartbeat, beat).map_err(Error::Heartbeat)?;
    let (prepared, mut outcomes) = mpsc::channel(1);
    let mut worker = Worker { options, bus, tasks, heartbeats, prepared, preparing: None, active: None };

    let ended = loop {
        let active = &mut worker.active;
        let due = active.as_ref().and_then(|a| a.due());
        let step = tokio::select! {
            () = shutdown.triggered() => break Ok(()),
            Some(request) = prepares.next() => {
                let (command, replier) = request.into_parts();
                worker.prepare(command, replier)
            }
            Some(request) = starts.next() => {
                let (command, replier) = request.into_parts();
                replier.reply(worker.run_of(&command.run).and_then(|a| a.start(&command)).map(|()| v1::Ack {}));
                Ok(())
            }
            Some(request) = changes.next() => {
                let (command, replier) = request.into_parts();
                replier.reply(worker.run_of(&command.run).and_then(|a| a.change(&command)).map(|()| v1::Ack {}));
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
            event = next_event(active) => worker.hear(event),
            () = sleep_until(due) => worker.turn().await,
        };
        if let Err(error) = step {
            break Err(error);
        }
        worker.announce();
    };
    drop((prepares, starts, changes, ends, end_runs));
    worker.wind_up(&mut outcomes).await;
    ended
}

/// The load threads' next event; never, without a run.
async fn next_event(active: &mut Option<Box<Active>>) -> Option<EngineEvent> {
    match active {
        Some(active) => active.event().await,
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
    Beat { state: v1::heartbeat::State::Idle, ..Beat::default() }
}

impl Worker {
    /// The run that a command is about.
    fn run_of(&mut self, run: &[u8]) -> Result<&mut Active, String> {
        match &mut self.active {
            Some(active) if active.owner().run.to_bytes() == run => Ok(active),
            _ => Err("this worker has not prepared the run".to_owned()),
        }
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
        self.preparing = Some(Preparing { run, repliers: vec![replier], ended: false });
        let (options, bus, prepared) = (self.options.clone(), self.bus.clone(), self.prepared.clone());
        self.tasks.spawn("prepare run", OnError::Log, async move {
            // A task of its own: should it panic, the caller is told.
            let guard = Told(Some(prepared));
            let outcome = prepare(&options, &bus, run, &command).await;
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
                Ok(reply)
            }
            Err(problems) => Ok(v1::PrepareRunReply { problems, ..v1::PrepareRunReply::default() }),
        };
        for replier in repliers {
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

    fn hear(&mut self, event: Option<EngineEvent>) -> Result<(), Error> {
        match (event, &mut self.active) {
            (Some(event), Some(active)) => active.hear(event),
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

    /// Says in heartbeats how things stand.
    fn announce(&self) {
        let beat = match &self.active {
            Some(active) => {
                let (state, phase) = active.state();
                let load_threads = active.reply().load_threads;
                Beat { run: Some(active.owner().run), state, phase, load_threads }
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
