//! A scheduler between scripted peers.

use std::net::SocketAddr;
use std::time::Duration;

use bus::{Address, Bus};
use protocol::event::{Entry, Event};
use protocol::id::RunId;
use protocol::v1;
use scheduler::{Clock, Options};
use service::{OnError, Shutdown, Tasks};
use store::{RunState, Store};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::beside::Beside;
use crate::pace::Pace;
use crate::peers::Peers;

/// Everything that a test needs; dropped, all of it ends.
pub(crate) struct Bench {
    pub(crate) dir: TempDir,
    pub(crate) store: Store,
    pub(crate) bus: Bus,
    pub(crate) peers: Peers,
    pub(crate) beside: Beside,
    pub(crate) api: SocketAddr,
    pub(crate) shutdown: Shutdown,
    pub(crate) clock: Clock,
    _tasks: Tasks,
    _pace: Option<Pace>,
}

/// Head of every plan: one target, one scenario, quick control.
pub(crate) const HEAD: &str = r#"
name = "bench"
seed = 7
[targets.app]
url = "http://127.0.0.1:1"
[[scenarios]]
guest = "http"
config.steps = [{ name = "home", get = "/" }]
"#;

impl Bench {
    /// On the paused clock, made to run fast.
    pub(crate) async fn paced() -> Self {
        Self::new(true, |_, _| {}).await
    }

    /// On the real clock.
    pub(crate) async fn real() -> Self {
        Self::new(false, |_, _| {}).await
    }

    pub(crate) async fn new(paced: bool, edit: impl FnOnce(&mut Options, &Peers)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store.db")).unwrap();
        let bus = Bus::in_process(store.clone(), &dir.path().join("objects")).unwrap();
        let shutdown = Shutdown::new();
        let tasks = Tasks::new(shutdown.clone());
        let pace = paced.then(|| Pace::start(&tasks));
        let peers = Peers::start(&bus, &tasks).await;
        let beside = Beside::start(&peers, &bus, &tasks).await;
        let mut options = Options::new(dir.path());
        options.workers = vec![peers.worker];
        if paced {
            options.clock = Clock::anchored(1_700_000_000_000_000_000);
        }
        edit(&mut options, &peers);
        let clock = options.clock;
        let (ready, bound) = oneshot::channel();
        options.ready = Some(ready);
        let scheduler = scheduler::run(options, bus.clone(), store.clone(), shutdown.clone());
        tasks.spawn("scheduler", OnError::ShutDown, scheduler);
        let api = bound.await.unwrap();
        Self { dir, store, bus, peers, beside, api, shutdown, clock, _tasks: tasks, _pace: pace }
    }

    /// Stores a bundle and creates a run of it: the plan's head and what follows it.
    pub(crate) async fn create(&self, plan: &str) -> RunId {
        let (run, problems) = self.try_create(&format!("{plan}\n{HEAD}")).await;
        assert_eq!(problems, Vec::<String>::new());
        run
    }

    pub(crate) async fn try_create(&self, plan: &str) -> (RunId, Vec<String>) {
        let run = RunId::new();
        let mut files = Vec::new();
        for name in ["guest:0", "feed:items.csv", "ca:app", "cert:app", "key:app"] {
            let digest = self.bus.put_object(name.as_bytes()).await.unwrap();
            files.push(v1::BundleFile { name: name.to_owned(), digest });
        }
        let command = v1::CreateRun {
            run: run.to_bytes(),
            plan_digest: self.bus.put_object(plan.as_bytes()).await.unwrap(),
            files,
            base_dir: self.dir.path().to_string_lossy().into_owned(),
        };
        let reply = self.bus.command(&Address::Service, &command, Duration::from_secs(60)).await.unwrap();
        (run, reply.problems)
    }

    /// Steers a run; the refusal, empty when it was done.
    pub(crate) async fn control(&self, run: RunId, action: v1::control_run::Action, by: &str) -> String {
        let command = v1::ControlRun { run: run.to_bytes(), action: Some(action), by: by.to_owned() };
        self.bus.command(&Address::Service, &command, Duration::from_secs(60)).await.unwrap().refused
    }

    pub(crate) async fn history(&self, run: RunId) -> Vec<Event> {
        let entries: Vec<Entry> = self.store.history(run, 0).await.unwrap();
        for (sequence, entry) in (1..).zip(&entries) {
            assert_eq!(entry.sequence, sequence, "the history has no gaps");
        }
        entries.into_iter().map(|entry| entry.event).collect()
    }

    /// Waits until the history has an event.
    pub(crate) async fn wait_for(&self, run: RunId, what: &str, is: impl Fn(&Event) -> bool) -> Event {
        let deadline = Instant::now() + Duration::from_secs(600);
        loop {
            let events = self.history(run).await;
            if let Some(event) = events.iter().find(|event| is(event)) {
                return event.clone();
            }
            assert!(Instant::now() < deadline, "no {what}: {events:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn wait_for_phase(&self, run: RunId, index: u32) {
        self.wait_for(
            run,
            "start of the phase",
            |event| matches!(event, Event::PhaseStarted { phase, .. } if *phase == index),
        )
        .await;
        // The entry is stored before the workers are told.
        let start = format!("worker start {index}");
        while !self.peers.log().contains(&start) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits for the verdict: exit code and reasons.
    pub(crate) async fn ended(&self, run: RunId) -> (u8, Vec<String>) {
        let ended =
            self.wait_for(run, "end of the run", |event| matches!(event, Event::RunEnded { .. })).await;
        let Event::RunEnded { exit_code, reasons, .. } = ended else { unreachable!("just matched") };
        // The state follows its entry; both stand before the end is announced.
        let deadline = Instant::now() + Duration::from_secs(600);
        while self.store.run(run).await.unwrap().unwrap().state != (RunState::Ended { exit_code }) {
            assert!(Instant::now() < deadline, "the state does not follow");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        (exit_code, reasons)
    }
}

/// A plan of one baseline phase of so many seconds, on quick control.
pub(crate) fn baseline(seconds: u64, more: &str) -> String {
    format!(
        "run-phases = [\"baseline\"]\ncontrol.validate-timeout = \"2s\"\ncontrol.ramp-down = \"1s\"\n\
         phases.baseline.duration = \"{seconds}s\"\nphases.baseline.rate = 100\n{more}"
    )
}
