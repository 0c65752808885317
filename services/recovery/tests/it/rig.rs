//! The service, a platform with processes, a proxy, and what the scheduler and chaos say in turn.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bus::{Address, Bus};
use platform::identity::ProcessId;
use platform::processes::{Processes, Spec};
use platform::{InstanceId, Platform as _};
use protocol::event::Event;
use protocol::faults::{PlannedFault, RecoveryView};
use protocol::id::{IncarnationId, RunId};
use protocol::message::Command;
use protocol::v1;
use service::{OnError, Shutdown, Tasks};
use store::{RecordKey, Store};
use tempfile::TempDir;
use test_servers::ports;
use tokio::sync::oneshot;

use crate::proxy::Proxy;
use crate::server;

/// Long enough for a machine with other things to do.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// An entry that recovery told, with its stamp.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) at_unix_ns: i64,
    pub(crate) event: Event,
}

/// How the target is set up.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Instances, each a process.
    pub(crate) instances: usize,
    /// More keys of `[recovery.shop]`.
    pub(crate) recovery: String,
    /// Whether there is a proxy before each, in phase 1.
    pub(crate) proxy: bool,
    /// Whether a process `spare` can stand in, which does not run.
    pub(crate) spare: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self { instances: 1, recovery: "interval = \"1s\"".to_owned(), proxy: false, spare: false }
    }
}

pub(crate) struct Rig {
    pub(crate) run: RunId,
    pub(crate) bus: Bus,
    pub(crate) platform: Processes,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) dir: TempDir,
    pub(crate) ports: Vec<u16>,
    pub(crate) spare_port: u16,
    /// `keep` by incident, as the scheduler was asked.
    pub(crate) shed: Arc<Mutex<Vec<(String, f64)>>>,
    told: Arc<Mutex<Vec<Told>>>,
    faults: Mutex<u64>,
    incarnation: IncarnationId,
    shutdown: Shutdown,
    tasks: Tasks,
}

impl Rig {
    /// Everything runs and is watched, in phase 1.
    pub(crate) async fn start(setup: Setup) -> Self {
        let rig = Self::open(&setup).await;
        rig.phase(1).await;
        rig.until("it is watched and well", |view| view.targets.iter().all(|target| target.healthy)).await;
        rig
    }

    async fn open(setup: &Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store.sqlite")).unwrap();
        let bus = Bus::in_process(store, &dir.path().join("objects")).unwrap();
        let shutdown = Shutdown::new();
        let tasks = Tasks::new(shutdown.clone());
        let (ready, is_ready) = oneshot::channel();
        let options = recovery::Options { ready: Some(ready), ..recovery::Options::default() };
        tasks.spawn("recovery", OnError::ShutDown, recovery::run(options, bus.clone(), shutdown.clone()));
        is_ready.await.unwrap();
        let state = dir.path().join("processes");
        let rig = Self {
            run: RunId::new(),
            platform: Processes::create(&state, ProcessId::current().unwrap()).unwrap(),
            proxy: setup.proxy.then(Proxy::start),
            ports: (0..setup.instances).map(|_| ports::free()).collect(),
            spare_port: ports::free(),
            bus,
            dir,
            shed: Arc::default(),
            told: Arc::default(),
            faults: Mutex::new(0),
            incarnation: IncarnationId::new(),
            shutdown,
            tasks,
        };
        rig.be_scheduler().await;
        rig.keep_proxy();
        for (index, port) in rig.ports.iter().enumerate() {
            let id = rig.define(&name(index), *port).await;
            rig.platform.start(&id).await.unwrap();
        }
        if setup.spare {
            rig.define("spare", rig.spare_port).await;
        }
        let detours = rig.detours().await;
        let plan_digest = rig.bus.put_object(rig.plan(setup).as_bytes()).await.unwrap();
        let open = v1::OpenRecovery {
            run: rig.run.to_bytes(),
            plan_digest,
            platform_dir: state.to_string_lossy().into_owned(),
            proxy_url: rig.proxy.as_ref().map(|proxy| proxy.url.clone()).unwrap_or_default(),
            detours,
            ..Default::default()
        };
        // Twice, as when the first answer was lost.
        for _ in 0..2 {
            assert_eq!(rig.ask(open.clone()).await.unwrap().problems, []);
        }
        rig
    }

    /// As chaos does: else the proxy takes its controller for dead.
    fn keep_proxy(&self) {
        let Some(proxy) = &self.proxy else { return };
        let client = proxy.client();
        self.tasks.spawn("proxy's lease", OnError::Log, async move {
            loop {
                // One that was not heard is no harm: the lease is long.
                let _ = client.version().await;
                tokio::time::sleep(Duration::from_secs(7)).await;
            }
            #[expect(unreachable_code, reason = "names the error type")]
            Ok::<(), Infallible>(())
        });
    }

    async fn be_scheduler(&self) {
        let mut news = self.bus.consume::<v1::RecoveryNews>("scheduler").await.unwrap();
        let (told, run) = (Arc::clone(&self.told), self.run.to_bytes());
        self.tasks.spawn("scheduler's news", OnError::ShutDown, async move {
            while let Some(delivery) = news.next().await {
                let event: Event = serde_json::from_str(&delivery.body.event_json).unwrap();
                if delivery.body.run == run {
                    let mut told = told.lock().unwrap();
                    assert_eq!(delivery.body.sequence, told.len() as u64 + 1, "no gaps");
                    told.push(Told { at_unix_ns: delivery.body.at_unix_ns, event });
                }
                delivery.ack().await.unwrap();
            }
            Ok::<(), Infallible>(())
        });
        let mut asked = self.bus.serve::<v1::QueryClock>(Address::Service).await.unwrap();
        self.tasks.spawn("scheduler's clock", OnError::ShutDown, async move {
            while let Some(request) = asked.next().await {
                request.reply(Ok(v1::ClockReply { unix_ns: unix_ns() }));
            }
            Ok::<(), Infallible>(())
        });
        let mut asked = self.bus.serve::<v1::ShedLoad>(Address::Service).await.unwrap();
        let shed = Arc::clone(&self.shed);
        self.tasks.spawn("scheduler's load", OnError::ShutDown, async move {
            while let Some(request) = asked.next().await {
                shed.lock().unwrap().push((request.body.incident.clone(), request.body.keep));
                request.reply(Ok(v1::ShedLoadReply::default()));
            }
            Ok::<(), Infallible>(())
        });
    }

    async fn define(&self, name: &str, port: u16) -> InstanceId {
        let spec = Spec {
            name: name.to_owned(),
            command: server::command(),
            ready: Some(format!("http://127.0.0.1:{port}/ready")),
            ready_timeout: Duration::from_secs(20),
            env: BTreeMap::from_iter(server::environment(port, &self.knobs(name))),
            dir: None,
            stop_timeout: Duration::from_secs(2),
            clock_adjustable: false,
        };
        let log = self.dir.path().join(format!("{name}.log"));
        self.platform.define(&spec, self.dir.path(), &log).await.unwrap()
    }

    /// Where an instance's knobs are.
    pub(crate) fn knobs(&self, name: &str) -> std::path::PathBuf {
        let knobs = self.dir.path().join(format!("{name}.knobs"));
        std::fs::create_dir_all(&knobs).unwrap();
        knobs
    }

    async fn detours(&self) -> Vec<v1::Detour> {
        let Some(proxy) = &self.proxy else { return Vec::new() };
        let mut detours = Vec::new();
        for (index, port) in self.ports.iter().enumerate() {
            let input = fault_proxy::ProxyInput::new(format!("shop-{index}"), format!("127.0.0.1:{port}"));
            let made = proxy.client().create_proxy(&input.listening_on("127.0.0.1:0")).await.unwrap();
            let endpoint = u32::try_from(index).unwrap();
            let (target, address) = ("shop".to_owned(), made.listen);
            detours.push(v1::Detour { target, endpoint, address, phases: vec![1] });
        }
        detours
    }

    fn plan(&self, setup: &Setup) -> String {
        let urls: Vec<String> =
            self.ports.iter().map(|port| format!("\"http://127.0.0.1:{port}\"")).collect();
        let names: Vec<String> = (0..setup.instances).map(|index| format!("\"{}\"", name(index))).collect();
        let mut processes: Vec<(String, u16)> =
            self.ports.iter().enumerate().map(|(index, port)| (name(index), *port)).collect();
        let mut recovery = setup.recovery.clone();
        if setup.spare {
            processes.push(("spare".to_owned(), self.spare_port));
            let url = format!("http://127.0.0.1:{}", self.spare_port);
            recovery = format!("{recovery}\nbackup = {{ process = \"spare\", url = \"{url}\" }}");
        }
        let processes: String = processes
            .iter()
            .map(|(name, port)| {
                format!(
                    "[processes.{name}]\ncommand = [\"server\"]\nready = \"http://127.0.0.1:{port}/ready\"\n\
                     ready-timeout = \"20s\"\nstop-timeout = \"2s\"\n"
                )
            })
            .collect();
        let (urls, names) = (urls.join(", "), names.join(", "));
        let first = self.ports[0];
        format!(
            r#"
name = "recovery"
run-phases = ["idle", "baseline", "light"]
{processes}
[targets.shop]
url = [{urls}]
health = "http://127.0.0.1:{first}/health"
platform = {{ process = [{names}] }}
[recovery.shop]
{recovery}
[[scenarios]]
name = "buy"
guest = "http"
target = "shop"
config.steps = [{{ name = "home", get = "/" }}]
"#
        )
    }

    pub(crate) async fn ask<C: Command>(&self, command: C) -> Result<C::Reply, String> {
        self.bus.command(&Address::Service, &command, LONG).await.map_err(|error| error.to_string())
    }

    /// A phase begins.
    pub(crate) async fn phase(&self, phase: u32) {
        let run = self.run.to_bytes();
        self.ask(v1::BeginRecoveryPhase { run, phase, t0_unix_ns: unix_ns() }).await.unwrap();
    }

    /// A phase ends: the incidents that are open then.
    pub(crate) async fn end_phase(&self, phase: u32) -> Vec<String> {
        let ended = self.ask(v1::EndRecoveryPhase { run: self.run.to_bytes(), phase }).await.unwrap();
        let last = ended.last_sequence;
        self.wait_for(&format!("record {last}"), |told| (told.len() as u64 >= last).then_some(())).await;
        ended.open
    }

    pub(crate) async fn view(&self) -> RecoveryView {
        self.view_of(&self.run.to_bytes()).await
    }

    async fn view_of(&self, run: &[u8]) -> RecoveryView {
        let status = self.ask(v1::QueryRecovery { run: run.to_vec() }).await.unwrap();
        serde_json::from_str(&status.status_json).unwrap()
    }

    /// Waits until what is shown is so.
    pub(crate) async fn until(&self, what: &str, is_so: impl FnMut(&RecoveryView) -> bool) -> RecoveryView {
        self.until_of(&self.run.to_bytes(), what, is_so).await
    }

    /// The same of another run.
    pub(crate) async fn until_of(
        &self,
        run: &[u8],
        what: &str,
        mut is_so: impl FnMut(&RecoveryView) -> bool,
    ) -> RecoveryView {
        let deadline = tokio::time::Instant::now() + LONG;
        loop {
            let view = self.view_of(run).await;
            if is_so(&view) {
                return view;
            }
            let (told, failures) = (self.told(), self.tasks.failures());
            assert!(
                tokio::time::Instant::now() < deadline,
                "waited {LONG:?}: {what}: {failures:?} {view:#?}\n{told:#?}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What was told so far.
    pub(crate) fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    /// Waits until what was told has this.
    pub(crate) async fn wait_for<T>(&self, what: &str, mut find: impl FnMut(&[Told]) -> Option<T>) -> T {
        let deadline = tokio::time::Instant::now() + LONG;
        loop {
            let told = self.told();
            if let Some(found) = find(&told) {
                return found;
            }
            let failures = self.tasks.failures();
            assert!(
                tokio::time::Instant::now() < deadline,
                "waited {LONG:?} for {what}: {failures:?} {told:#?}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until an incident is over: its end.
    pub(crate) async fn closed(&self, id: &str) -> Event {
        self.wait_for(&format!("the end of {id}"), |told| {
            let is =
                |event: &Event| matches!(event, Event::IncidentClosed { incident, .. } if incident == id);
            told.iter().map(|told| &told.event).find(|event| is(event)).cloned()
        })
        .await
    }

    /// Chaos tells something now.
    pub(crate) async fn chaos(&self, event: Event) {
        self.chaos_at(unix_ns(), event).await;
    }

    /// Chaos tells something that happened at a stamp.
    pub(crate) async fn chaos_at(&self, at_unix_ns: i64, event: Event) {
        let sequence = {
            let mut faults = self.faults.lock().unwrap();
            *faults += 1;
            *faults
        };
        let run = self.run.to_bytes();
        let key = RecordKey {
            producer: run.as_slice().try_into().unwrap(),
            incarnation: self.incarnation.to_bytes().as_slice().try_into().unwrap(),
            sequence,
            part: 0,
        };
        let event_json = serde_json::to_string(&event).unwrap();
        let news = v1::FaultNews { run, sequence, at_unix_ns, event_json };
        self.bus.record(&key, &news).await.unwrap();
    }

    pub(crate) async fn beginning(&self, fault: &str, recipe: &str, victim: &str) {
        self.chaos(beginning(fault, recipe, victim)).await;
    }

    pub(crate) async fn injected(&self, fault: &str) {
        let (backend, seen) = ("test".to_owned(), String::new());
        self.chaos(Event::FaultInjected { fault: fault.to_owned(), backend, seen }).await;
    }

    pub(crate) async fn ended(&self, fault: &str) {
        let (how, verified) = ("its time is over".to_owned(), String::new());
        let fault = fault.to_owned();
        self.chaos(Event::FaultEnded { fault, how, held_ms: None, undo_ms: None, verified }).await;
    }

    /// Ends the run, and the service: nothing of it is left.
    pub(crate) async fn end(self) {
        for _ in 0..2 {
            self.ask(v1::CloseRecovery { run: self.run.to_bytes() }).await.unwrap();
        }
        assert!(!self.view().await.targets.is_empty(), "a run that is over can still be looked at");
        self.shutdown.trigger("the test is over");
        let deadline = tokio::time::Instant::now() + LONG;
        while self.tasks.running().contains(&"recovery") {
            assert!(tokio::time::Instant::now() < deadline, "the service does not end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(self.tasks.failures(), []);
    }
}

/// The process of the n-th instance.
pub(crate) fn name(index: usize) -> String {
    format!("shop-{}", ["a", "b", "c", "d"][index])
}

pub(crate) fn id(name: &str) -> InstanceId {
    InstanceId::new(name).unwrap()
}

pub(crate) fn unix_ns() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

/// A fault on an instance of the target, as chaos tells its beginning.
pub(crate) fn beginning(fault: &str, recipe: &str, victim: &str) -> Event {
    let planned = PlannedFault {
        fault: fault.to_owned(),
        recipe: recipe.to_owned(),
        target: "shop".to_owned(),
        phase: 1,
        at_ms: 0,
        duration_ms: 10_000,
        victims: vec![victim.to_owned()],
        parameters: String::new(),
        stop: "none".to_owned(),
        by: "plan".to_owned(),
    };
    Event::FaultBeginning { fault: planned }
}

/// The actions that were told, in words: `restart done`.
pub(crate) fn actions(told: &[Told]) -> Vec<String> {
    let acted = |told: &Told| match &told.event {
        Event::RecoveryActed { action, outcome, .. } => Some(format!("{action} {outcome:?}")),
        _ => None,
    };
    told.iter().filter_map(acted).collect()
}

/// The incidents that were told.
pub(crate) fn opened(told: &[Told]) -> Vec<Event> {
    let is = |event: &&Event| matches!(event, Event::IncidentOpened { .. });
    told.iter().map(|told| &told.event).filter(is).cloned().collect()
}
