//! One run with chaos: targets, the service, and all that it tells.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bus::{Address, Bus, CommandError};
use platform::identity::ProcessId;
use platform::processes::{Processes, Spec};
use platform::{Instance, InstanceId, Platform as _};
use protocol::event::Event;
use protocol::faults::{CapabilityView, FaultState, FaultView};
use protocol::id::RunId;
use protocol::message::Command;
use protocol::v1;
use service::{OnError, Shutdown, Tasks};
use store::Store;
use test_servers::ports;

use crate::target;

/// Nothing here takes long; on a busy machine it may all the same.
pub(crate) const LONG: Duration = Duration::from_secs(60);
/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(10);
/// The pause between two beats of the scheduler.
const BEAT: Duration = Duration::from_millis(100);

/// A run. Dropped, everything of it is ended.
pub(crate) struct Lab {
    pub(crate) bus: Bus,
    pub(crate) run: RunId,
    pub(crate) shutdown: Shutdown,
    tasks: Tasks,
    chaos: Mutex<Tasks>,
    scheduler: Mutex<Tasks>,
    processes: Processes,
    pub(crate) targets: Vec<String>,
    news: Arc<Mutex<Vec<v1::FaultNews>>>,
    plan_digest: String,
    // Last, for the processes end by what is in it.
    dir: tempfile::TempDir,
}

/// What a plan of these tests begins with: two instances of a shop, which are ours, and one that nobody may touch.
fn plan(targets: &[String], seed: u64, faults: &str) -> String {
    let [a, b] = targets else { panic!("two targets") };
    format!(
        r#"
name = "chaos"
seed = {seed}
run-phases = ["light", "chaos"]
phases.light.duration = "1m"
phases.chaos.duration = "1m"
processes.a.command = ["target"]
processes.b.command = ["target"]
targets.shop.url = ["http://{a}", "http://{b}"]
targets.shop.platform.process = ["a", "b"]
targets.shop.chaos.most = 1
targets.off.url = "http://{a}"
scenarios = [{{ guest = "http", target = "shop" }}]
{faults}
"#
    )
}

/// A `[[chaos]]` on the shop, with these lines beside those that every fault has.
pub(crate) fn fault(name: &str, recipe: &str, at: &str, duration: &str, lines: &str) -> String {
    let stop = if lines.contains("stop =") { "" } else { "stop = \"none\"" };
    let at = if at.is_empty() { String::new() } else { format!("at = \"{at}\"") };
    format!(
        "[[chaos]]\nname = \"{name}\"\nrecipe = \"{recipe}\"\ntarget = \"shop\"\nduration = \"{duration}\"\n{at}\n{stop}\n{lines}\n"
    )
}

impl Lab {
    pub(crate) async fn new(faults: &str) -> Self {
        Self::seeded(7, faults).await
    }

    pub(crate) async fn seeded(seed: u64, faults: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store.db")).unwrap();
        let bus = Bus::in_process(store, &dir.path().join("objects")).unwrap();
        let processes =
            Processes::create(&dir.path().join("processes"), ProcessId::current().unwrap()).unwrap();
        let mut targets = Vec::new();
        for name in ["a", "b"] {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()));
            let spec = spec(name, &address.to_string());
            let log = dir.path().join(format!("{name}.log"));
            let id = processes.define(&spec, dir.path(), &log).await.unwrap();
            processes.start(&id).await.unwrap();
            targets.push(address.to_string());
        }
        let text = plan(&targets, seed, faults);
        let parsed =
            plan::parse(&text, Path::new("plan.toml")).unwrap_or_else(|problems| panic!("{problems}"));
        let plan_digest = bus.put_object(parsed.to_toml().as_bytes()).await.unwrap();
        let (shutdown, news) = (Shutdown::new(), Arc::new(Mutex::new(Vec::new())));
        let tasks = Tasks::new(Shutdown::new());
        let mut records = bus.consume::<v1::FaultNews>("scheduler").await.unwrap();
        let heard = Arc::clone(&news);
        tasks.spawn("news", OnError::Log, async move {
            while let Some(delivery) = records.next().await {
                heard.lock().unwrap().push(delivery.body.clone());
                delivery.ack().await.map_err(|error| error.to_string())?;
            }
            Ok::<(), String>(())
        });
        let mut clocks = bus.serve::<v1::QueryClock>(Address::Service).await.unwrap();
        tasks.spawn("clock", OnError::Log, async move {
            while let Some(request) = clocks.next().await {
                request.reply(Ok(v1::ClockReply { unix_ns: unix_ns() }));
            }
            Ok::<(), String>(())
        });
        let nothing = || Mutex::new(Tasks::new(Shutdown::new()));
        let (chaos, scheduler) = (nothing(), nothing());
        let run = RunId::new();
        let lab =
            Self { bus, run, shutdown, tasks, chaos, scheduler, processes, targets, news, plan_digest, dir };
        lab.start_chaos().await;
        lab.start_beats(run);
        lab
    }

    /// Starts the service, or starts it anew.
    pub(crate) async fn start_chaos(&self) {
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let program = env!("CARGO_BIN_EXE_gauntlet-chaos");
        let options = chaos::Options {
            ready: Some(ready),
            ..chaos::Options::new(self.state(), [program, "fault-agent"], [program, "fault-proxy"])
        };
        let running = chaos::run(options, self.bus.clone(), self.shutdown.clone());
        let tasks = Tasks::new(Shutdown::new());
        tasks.spawn("chaos", OnError::Log, running);
        *self.chaos.lock().unwrap() = tasks;
        is_ready.await.expect("chaos is ready");
    }

    /// The scheduler of a run beats, and that of no other.
    pub(crate) fn start_beats(&self, run: RunId) {
        let (bus, tasks) = (self.bus.clone(), Tasks::new(Shutdown::new()));
        tasks.spawn("beats", OnError::Log, async move {
            let mut ticks = tokio::time::interval(BEAT);
            while bus.broadcast(&v1::SchedulerBeat { run: run.to_bytes() }).await.is_ok() {
                ticks.tick().await;
            }
            Err::<(), _>("the bus takes no beats")
        });
        std::mem::replace(&mut *self.scheduler.lock().unwrap(), tasks).abort();
    }

    /// No scheduler beats.
    pub(crate) fn stop_beats(&self) {
        self.scheduler.lock().unwrap().abort();
    }

    /// Ends the service where it stands, as if its process had died.
    pub(crate) fn kill_chaos(&self) {
        *self.chaos.lock().unwrap() = Tasks::new(Shutdown::new());
    }

    /// Waits until the service has ended after a shutdown, and demands that it ended well.
    pub(crate) async fn chaos_ended(&self) {
        let tasks = self.chaos.lock().unwrap().clone();
        assert_eq!(tasks.finish(LONG).await, Vec::<&str>::new());
        assert_eq!(tasks.failures(), []);
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("chaos")
    }

    pub(crate) async fn send<C: Command>(&self, command: &C) -> Result<C::Reply, CommandError> {
        self.bus.command(&Address::Service, command, LONG).await
    }

    pub(crate) async fn open(&self) -> v1::OpenChaosReply {
        let reply = self.send(&self.open_command()).await.unwrap();
        assert_eq!(reply.problems, []);
        reply
    }

    pub(crate) fn open_command(&self) -> v1::OpenChaos {
        v1::OpenChaos {
            run: self.run.to_bytes(),
            plan_digest: self.plan_digest.clone(),
            platform_dir: self.dir.path().join("processes").to_string_lossy().into_owned(),
        }
    }

    /// The phase `chaos` begins now.
    pub(crate) async fn begin(&self) {
        self.begin_at(unix_ns()).await;
    }

    pub(crate) async fn begin_at(&self, t0_unix_ns: i64) {
        let duration_ns = 60_000_000_000;
        let run = self.run.to_bytes();
        self.send(&v1::BeginChaosPhase { run, phase: 1, t0_unix_ns, duration_ns }).await.unwrap();
    }

    pub(crate) async fn end(&self, reason: &str) -> v1::ChaosPhaseEnded {
        let command = v1::EndChaosPhase { run: self.run.to_bytes(), phase: 1, reason: reason.to_owned() };
        self.send(&command).await.unwrap()
    }

    pub(crate) async fn close(&self) -> v1::ChaosClosed {
        self.send(&v1::CloseChaos { run: self.run.to_bytes() }).await.unwrap()
    }

    pub(crate) async fn inject(&self, fault_toml: &str) -> v1::InjectFaultReply {
        let fault_toml = fault_toml.to_owned();
        self.send(&v1::InjectFault { run: self.run.to_bytes(), fault_toml, by: "cli".to_owned() })
            .await
            .unwrap()
    }

    pub(crate) async fn stop(&self, fault: &str) -> v1::StopFaultReply {
        let fault = fault.to_owned();
        self.send(&v1::StopFault { run: self.run.to_bytes(), fault, by: "cli".to_owned() }).await.unwrap()
    }

    pub(crate) async fn faults(&self) -> (Vec<FaultView>, Vec<CapabilityView>) {
        let faults = self.send(&v1::QueryFaults { run: self.run.to_bytes() }).await.unwrap();
        let views = faults.faults_json.iter().map(|json| serde_json::from_str(json).unwrap()).collect();
        let capabilities = faults.capabilities_json.iter().map(|json| serde_json::from_str(json).unwrap());
        (views, capabilities.collect())
    }

    pub(crate) async fn state_of(&self, id: &str) -> FaultState {
        let (views, _) = self.faults().await;
        views.iter().find(|view| view.planned.fault == id).unwrap_or_else(|| panic!("{id}: {views:?}")).state
    }

    /// All that was told so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        let news = self.news.lock().unwrap();
        news.iter().map(|news| serde_json::from_str(&news.event_json).unwrap()).collect()
    }

    /// Numbers of the records so far.
    pub(crate) fn sequences(&self) -> Vec<u64> {
        self.news.lock().unwrap().iter().map(|news| news.sequence).collect()
    }

    /// Waits until something was told; that.
    pub(crate) async fn told(&self, what: &str, is_it: impl Fn(&Event) -> bool) -> Event {
        eventually(what, || self.events().into_iter().find(|event| is_it(event)), || self.events()).await
    }

    pub(crate) async fn injected(&self, id: &str) -> String {
        let event = self.told(
            "FaultInjected",
            |event| matches!(event, Event::FaultInjected { fault, .. } if fault == id),
        );
        let Event::FaultInjected { seen, .. } = event.await else { unreachable!() };
        seen
    }

    /// How a fault ended, and what was read back.
    pub(crate) async fn ended(&self, id: &str) -> (String, String) {
        let event =
            self.told("FaultEnded", |event| matches!(event, Event::FaultEnded { fault, .. } if fault == id));
        let Event::FaultEnded { how, verified, .. } = event.await else { unreachable!() };
        (how, verified)
    }

    /// Why a fault was skipped.
    pub(crate) async fn skipped(&self, id: &str) -> String {
        let event = self
            .told("FaultSkipped", |event| matches!(event, Event::FaultSkipped { fault, .. } if fault == id));
        let Event::FaultSkipped { reason, .. } = event.await else { unreachable!() };
        reason
    }

    pub(crate) async fn instance(&self, name: &str) -> Instance {
        self.processes.instance(&InstanceId::new(name).unwrap()).await.unwrap()
    }

    pub(crate) fn processes(&self) -> &Processes {
        &self.processes
    }

    /// The process that was started with this word by the service of this lab.
    pub(crate) async fn helper(&self, word: &str) -> ProcessId {
        let state = self.state().to_string_lossy().into_owned();
        let look = || {
            let pids = std::fs::read_dir("/proc")
                .unwrap()
                .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
            let ours = |pid: &u32| {
                let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line).replace('\0', " ");
                line.contains(&format!(" {word} "))
                    && line.contains(&state)
                    && platform::proc_fs::stat(*pid).is_ok_and(|stat| stat.parent == std::process::id())
            };
            pids.filter(ours).find_map(|pid| ProcessId::of(pid).ok())
        };
        eventually(word, look, || ()).await
    }

    /// Waits until nothing of any fault is left on this host, as an independent checker sees it.
    pub(crate) async fn nothing_left(&self) {
        let victims = self.processes.instances().await.unwrap().into_iter().filter_map(|one| one.process);
        let options = fault_agent::CheckOptions { victims: victims.collect(), ..Default::default() };
        let findings = || fault_agent::check(&self.state().join("agent"), &options).unwrap();
        eventually("no finding", || findings().is_empty().then_some(()), findings).await;
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.tasks.abort();
        self.stop_beats();
    }
}

fn spec(name: &str, address: &str) -> Spec {
    let program = std::env::current_exe().unwrap().to_string_lossy().into_owned();
    let arguments = target::ARGUMENTS.iter().map(|argument| (*argument).to_owned());
    Spec {
        name: name.to_owned(),
        command: std::iter::once(program).chain(arguments).collect(),
        ready: Some(format!("tcp://{address}")),
        ready_timeout: LONG,
        env: [(target::ADDRESS.to_owned(), address.to_owned())].into(),
        dir: None,
        stop_timeout: Duration::from_secs(5),
        clock_adjustable: true,
    }
}

pub(crate) fn unix_ns() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

/// Waits until there is something; fails with what there was instead.
pub(crate) async fn eventually<T, D: std::fmt::Debug>(
    what: &str,
    look: impl Fn() -> Option<T>,
    instead: impl Fn() -> D,
) -> T {
    let waiting = async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(LONG, waiting)
        .await
        .unwrap_or_else(|_| panic!("waited for {what}; there was {:?}", instead()))
}
