//! The scheduler as a service: commands, heartbeats, guests' faults, leases, and the one run that is under way.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus::{Address, Bus, BusError};
use plan::Plan;
use protocol::event::{Event, NamedDigest};
use protocol::id::RunId;
use protocol::v1;
use service::{OnError, Shutdown, Tasks, traces};
use store::{RunRow, RunState, Store, StoreError};
use tracing::Instrument as _;

use crate::clock::Clock;
use crate::control::Action;
use crate::decision::validity::Trap;
use crate::history::{History, entry_message};
use crate::news::Dropped;
use crate::orphans::{Keeper, SWEEP};
use crate::table::{Active, Bundle};
use crate::workers::Workers;
use crate::{Error, Options, api, processes};

/// Faults of guests that a run's history takes; what is beyond is counted.
const MOST_FAULTS: usize = 200;
/// The version that a run's history names: another may not understand how far a run has come.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// How often workers hear that their run's scheduler is there.
const BEAT: Duration = Duration::from_millis(500);
/// How long tasks may take to end once runs are over.
const LAST_TASKS: Duration = Duration::from_secs(5);

/// What requests need, shared by commands and API.
pub(crate) struct Service {
    pub(crate) bus: Bus,
    pub(crate) store: Store,
    pub(crate) shutdown: Shutdown,
    pub(crate) keeper: Keeper,
    pub(crate) clock: Clock,
    pub(crate) tasks: Tasks,
    pub(crate) workers: Workers,
    pub(crate) run_dir: PathBuf,
    pub(crate) lead: Duration,
    pub(crate) apart: bool,
    pub(crate) least_workers: usize,
    /// The run under way. One at a time: workers and their host are not shared between runs.
    pub(crate) active: tokio::sync::Mutex<Option<Active>>,
    /// Runs that another scheduler took from this one: it never takes them back, or two of one name would do so in turns.
    pub(crate) left: Mutex<BTreeSet<RunId>>,
    pub(crate) fatal: Mutex<Option<StoreError>>,
    /// Records that came for runs that are over.
    pub(crate) dropped: Dropped,
}

/// The entries of a run's history after a sequence, as messages.
async fn history_of(store: &Store, query: &v1::QueryHistory) -> Result<v1::History, String> {
    let run = RunId::from_bytes(&query.run)?;
    let entries = store.history(run, query.after_sequence).await.map_err(|error| error.to_string())?;
    let entries = entries.iter().map(|entry| entry_message(run, entry));
    Ok(v1::History { entries: entries.collect::<Result<_, _>>().map_err(|error| error.to_string())? })
}

/// Serves until the shutdown; see [`crate::run`].
pub(crate) async fn run(options: Options, bus: Bus, store: Store, shutdown: Shutdown) -> Result<(), Error> {
    // First of all: a heartbeat that is sent while the rest is set up is heard.
    let heartbeats = Workers::subscribe(&bus).await?;
    let listener = api::listen(&options.api, options.token.is_some()).await?;
    let address = listener.local_addr().map_err(Error::Serve)?;
    // A run that is taken up or closed finds nothing of them.
    if let Err(error) = processes::end_orphans(&options.run_dir).await {
        tracing::error!(%error, "processes of an earlier scheduler may still run");
    }
    let tasks = Tasks::new(shutdown.clone());
    let workers = Workers::new(&options.workers, bus.clone());
    let keeper = Keeper {
        store: store.clone(),
        bus: bus.clone(),
        clock: options.clock,
        instance: options.instance.clone(),
        workers: workers.clone(),
        apart: options.workers.is_empty(),
    };
    let service = Arc::new(Service {
        bus,
        store,
        shutdown: shutdown.clone(),
        keeper,
        clock: options.clock,
        tasks: tasks.clone(),
        workers,
        run_dir: options.run_dir,
        lead: options.lead,
        apart: options.workers.is_empty(),
        least_workers: options.least_workers,
        active: tokio::sync::Mutex::new(None),
        left: Mutex::new(BTreeSet::new()),
        fatal: Mutex::new(None),
        dropped: Dropped::default(),
    });
    // Runs end after the shutdown; what serves them ends after they have.
    let after_runs = Shutdown::new();
    service.spawn_heartbeats(heartbeats, &after_runs);
    // Before anything is accepted: what an earlier scheduler left is taken up, or closed.
    tokio::select! {
        taken = service.take_over() => taken?,
        () = shutdown.triggered() => {}
    }
    service.spawn_listeners(&after_runs).await?;
    let server = api::serve(listener, Arc::clone(&service), options.token, after_runs.clone());
    tasks.spawn("api", OnError::ShutDown, server);
    tracing::info!(%address, "the scheduler is ready");
    if let Some(ready) = options.ready {
        // Nobody may be waiting for it.
        let _ = ready.send(address);
    }
    shutdown.triggered().await;
    service.wait_for_run().await;
    after_runs.trigger("the scheduler ends");
    let left = tasks.finish(LAST_TASKS).await;
    tracing::debug!(?left, "the scheduler has ended");
    let fatal = service.fatal.lock().unwrap_or_else(PoisonError::into_inner).take();
    fatal.map_or(Ok(()), |error| Err(Error::Store(error)))
}

impl Service {
    fn spawn_heartbeats(&self, heartbeats: bus::Subscription<v1::Heartbeat>, until: &Shutdown) {
        let (workers, end) = (self.workers.clone(), until.clone());
        self.tasks.spawn(
            "heartbeats",
            OnError::ShutDown,
            async move { workers.listen(heartbeats, end).await },
        );
    }

    async fn spawn_listeners(self: &Arc<Self>, until: &Shutdown) -> Result<(), Error> {
        let mut creates = self.bus.serve::<v1::CreateRun>(Address::Service).await?;
        let (service, end) = (Arc::clone(self), until.clone());
        self.tasks.spawn("create commands", OnError::ShutDown, async move {
            while let Some(request) = next_until(&end, creates.next()).await {
                let created = service.create(request.body.clone()).instrument(request.span());
                let problems = created.await.err().unwrap_or_default();
                if let Some(problem) = problems.first() {
                    traces::failed(&request.span(), problem);
                }
                request.reply(Ok(v1::CreateRunReply { problems }));
            }
            Ok::<(), StoreError>(())
        });

        let mut controls = self.bus.serve::<v1::ControlRun>(Address::Service).await?;
        let (service, end) = (Arc::clone(self), until.clone());
        self.tasks.spawn("control commands", OnError::ShutDown, async move {
            while let Some(request) = next_until(&end, controls.next()).await {
                let v1::ControlRun { run, action, by } = request.body.clone();
                let done = match (RunId::from_bytes(&run), Action::from_proto(action)) {
                    (Ok(run), Ok(action)) => {
                        service.control(run, action, by).await.map_err(|refusal| refusal.text)
                    }
                    (Err(error), _) => Err(error.to_string()),
                    (_, Err(problem)) => Err(problem),
                };
                request.reply(Ok(v1::ControlReply { refused: done.err().unwrap_or_default() }));
            }
            Ok::<(), StoreError>(())
        });

        let mut histories = self.bus.serve::<v1::QueryHistory>(Address::Service).await?;
        let (service, end) = (Arc::clone(self), until.clone());
        self.tasks.spawn("history commands", OnError::ShutDown, async move {
            while let Some(request) = next_until(&end, histories.next()).await {
                let (query, replier) = request.into_parts();
                replier.reply(history_of(&service.store, &query).await);
            }
            Ok::<(), StoreError>(())
        });

        let mut clocks = self.bus.serve::<v1::QueryClock>(Address::Service).await?;
        let (clock, end) = (self.clock, until.clone());
        self.tasks.spawn("clock", OnError::ShutDown, async move {
            while let Some(request) = next_until(&end, clocks.next()).await {
                request.reply(Ok(v1::ClockReply { unix_ns: clock.unix_ns() }));
            }
            Ok::<(), StoreError>(())
        });

        let (service, end) = (Arc::clone(self), until.clone());
        self.tasks.spawn("beats", OnError::Log, async move {
            let mut ticks = tokio::time::interval(BEAT);
            while next_until(&end, async { Some(ticks.tick().await) }).await.is_some() {
                let own = service.own().await;
                if let Some(run) = own {
                    service.bus.broadcast(&v1::SchedulerBeat { run: run.to_bytes() }).await?;
                }
            }
            Ok::<(), BusError>(())
        });

        let mut faults = self.bus.consume::<v1::GuestFault>("scheduler").await?;
        let (service, end) = (Arc::clone(self), until.clone());
        self.tasks.spawn("guest faults", OnError::ShutDown, async move {
            while let Some(delivery) = next_until(&end, faults.next()).await {
                service.note_fault(&delivery.body).await?;
                delivery.ack().await.map_err(|error| error.to_string())?;
            }
            Ok::<(), String>(())
        });

        // Each waits for the bus: together they wait once.
        futures::try_join!(
            self.spawn_news::<v1::FaultNews>("fault news", until),
            self.spawn_news::<v1::RecoveryNews>("recovery news", until),
            self.spawn_endpoint_news(until),
            self.spawn_shedding(until)
        )?;

        let (service, end) = (Arc::clone(self), until.clone());
        self.tasks.spawn("leases", OnError::ShutDown, async move {
            let mut sweeps = tokio::time::interval_at(tokio::time::Instant::now() + SWEEP, SWEEP);
            while next_until(&end, async { Some(sweeps.tick().await) }).await.is_some() {
                let own = service.own().await;
                if let Some(own) = own
                    && !service.keeper.hold(own).await?
                {
                    tracing::error!(run = %own, "another scheduler has taken the lease on this run");
                }
                service.take_over().await?;
                let own = service.own().await;
                service.keeper.end_strays(own).await?;
            }
            Ok::<(), StoreError>(())
        });
        Ok(())
    }

    /// Accepts a run and starts it.
    ///
    /// # Errors
    /// Everything that is wrong with it, for the user; then nothing was stored.
    pub(crate) async fn create(self: &Arc<Self>, command: v1::CreateRun) -> Result<RunId, Vec<String>> {
        let id = RunId::from_bytes(&command.run).map_err(|error| vec![error.to_string()])?;
        // Held to the end: of two that are created at once, one is refused.
        let active = self.table_free().await;
        // Before anything that would be over if one waited for it.
        if self.shutdown.is_triggered() {
            return Err(vec!["the scheduler is shutting down".to_owned()]);
        }
        let mut active = active?;
        let plan = self.read_bundle(&command).await?;
        let stored = self.store_new(id, &plan, &command).await;
        let history = stored.map_err(|error| vec![error.to_string()])?;
        let bundle = Bundle {
            plan,
            plan_digest: command.plan_digest,
            files: command.files,
            base_dir: PathBuf::from(command.base_dir),
        };
        self.seat(&mut active, id, bundle, history, None);
        Ok(id)
    }

    /// Reads and checks the plan and makes sure that all files of the bundle are there.
    pub(crate) async fn read_bundle(&self, command: &v1::CreateRun) -> Result<Plan, Vec<String>> {
        let one = |problem: String| vec![problem];
        let path = self
            .bus
            .fetch_object(&command.plan_digest)
            .await
            .map_err(|error| one(format!("plan: {error}")))?;
        let text = std::fs::read_to_string(&path)
            .map_err(|error| one(format!("plan: {}: {error}", path.display())))?;
        let origin = Path::new(&command.base_dir).join("plan.toml");
        let plan = plan::parse(&text, &origin)
            .map_err(|problems| problems.0.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let mut problems = Vec::new();
        for (phase, key, known) in crate::objectives::unknown_parameters(&plan) {
            let phase = phase.name();
            let known = known.join(", ");
            problems.push(format!(
                "phases.{phase}.objectives.{key}: unknown: the parameters of {phase} are: {known}"
            ));
        }
        for index in 0..plan.scenarios.len() {
            let name = format!("guest:{index}");
            if command.files.iter().all(|file| file.name != name) {
                problems.push(format!(
                    "the bundle has no file {name}: put the guest's bytes and name their digest"
                ));
            }
        }
        for file in &command.files {
            if let Err(error) = self.bus.fetch_object(&file.digest).await {
                problems.push(format!("{}: {error}", file.name));
            }
        }
        if command.base_dir.is_empty() && !plan.processes.is_empty() {
            problems.push(
                "processes: the run has no base directory, from which their programs are found".to_owned(),
            );
        }
        if problems.is_empty() { Ok(plan) } else { Err(problems) }
    }

    async fn store_new(
        &self,
        id: RunId,
        plan: &Plan,
        command: &v1::CreateRun,
    ) -> Result<History, StoreError> {
        self.keeper.hold(id).await?;
        let row = RunRow {
            id,
            name: plan.name.clone(),
            created_unix_ns: self.clock.unix_ns(),
            plan_digest: command.plan_digest.clone(),
            base_dir: command.base_dir.clone(),
            state: RunState::Created,
        };
        self.store.create_run(row).await?;
        let history = History::new(id, self.store.clone(), self.bus.clone(), self.clock, 0);
        let created = Event::RunCreated {
            run: id.to_string(),
            name: plan.name.clone(),
            seed: plan.seed,
            plan_digest: command.plan_digest.clone(),
            time_scale: plan.time_scale,
            load_scale: plan.load_scale,
            version: VERSION.to_owned(),
            files: command
                .files
                .iter()
                .map(|file| NamedDigest { name: file.name.clone(), digest: file.digest.clone() })
                .collect(),
        };
        history.append(created).await?;
        Ok(history)
    }

    /// Steers a run.
    ///
    /// # Errors
    /// Why not.
    pub(crate) async fn control(&self, run: RunId, action: Action, by: String) -> Result<(), Refusal> {
        let outbox = {
            let active = self.active.lock().await;
            active.as_ref().filter(|active| active.id == run).map(|active| active.outbox.clone())
        };
        if let Some(outbox) = outbox {
            let by = if by.is_empty() { "unknown".to_owned() } else { by };
            return outbox.ask(action, by).await.map_err(|text| Refusal { unknown: false, text });
        }
        match self.store.run(run).await {
            Ok(Some(_)) => Err(Refusal { unknown: false, text: "the run is over".to_owned() }),
            Ok(None) => Err(Refusal { unknown: true, text: format!("there is no run {run}") }),
            Err(error) => Err(Refusal { unknown: false, text: error.to_string() }),
        }
    }

    /// Puts a guest's fault into the history of its run.
    async fn note_fault(&self, fault: &v1::GuestFault) -> Result<(), String> {
        let active = {
            let active = self.active.lock().await;
            active
                .as_ref()
                .filter(|active| active.id.to_bytes() == fault.run)
                .map(|active| (active.history.clone(), Arc::clone(&active.traps)))
        };
        let Some((history, traps)) = active else {
            self.dropped.note("guest fault", &fault.run, "the run is over");
            return Ok(());
        };
        let known = {
            let mut traps = traps.lock().unwrap_or_else(PoisonError::into_inner);
            traps.push((fault.phase, Trap { scenario: fault.scenario, offset_ns: fault.offset_ns }));
            traps.len()
        };
        let event = match known {
            ..=MOST_FAULTS => Event::GuestFaulted {
                phase: fault.phase,
                guest: format!("{} {}", fault.guest, fault.digest),
                fault: fault.kind.clone(),
                message: fault.message.clone(),
                operations_cancelled: fault.operations_cancelled,
                scenario: fault.scenario,
                offset_ns: fault.offset_ns,
            },
            _ if known == MOST_FAULTS + 1 => {
                let message = format!("more than {MOST_FAULTS} guest faults: further ones are counted only");
                Event::Notice { message }
            }
            _ => return Ok(()),
        };
        let now = self.clock.unix_ns();
        if !history.append_from("load-worker", now, event).await.map_err(|error| error.to_string())? {
            self.dropped.note("guest fault", &fault.run, "the run has ended");
        }
        Ok(())
    }
}

/// Why a run cannot be steered.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// There is no such run.
    pub(crate) unknown: bool,
    /// For the user.
    pub(crate) text: String,
}

/// The next item, or nothing once the shutdown was triggered.
pub(crate) async fn next_until<T>(end: &Shutdown, next: impl Future<Output = Option<T>>) -> Option<T> {
    tokio::select! {
        biased;
        () = end.triggered() => None,
        item = next => item,
    }
}
