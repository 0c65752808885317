//! A chaos and a recovery that keep to a script.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bus::{Address, Bus, Requests};
use protocol::event::Event;
use protocol::faults::{FaultState, FaultView, Issue, PlannedFault, RecoveryView};
use protocol::message::Command;
use protocol::v1;
use service::{OnError, Tasks};
use store::RecordKey;

use crate::peers::Peers;

/// What they do, and what was asked of them is in the log of the peers.
pub(crate) struct Script {
    /// The run that each knows; empty = none.
    pub(crate) chaos_knows: Vec<u8>,
    pub(crate) recovery_knows: Vec<u8>,
    /// Chaos takes commands and never answers.
    pub(crate) chaos_silent: bool,
    /// What keeps the run from beginning.
    pub(crate) problems: Vec<v1::Problem>,
    /// Faults that chaos says could not be undone, at the phase's end.
    pub(crate) unrecovered: Vec<String>,
    /// How many news chaos says that it has told.
    pub(crate) told: u64,
    /// The same of recovery.
    pub(crate) recovery_told: u64,
    /// Where its proxy listens.
    pub(crate) address: String,
    /// Files of the bundle that recovery was given.
    pub(crate) recovery_files: Vec<v1::BundleFile>,
    /// Its present life.
    pub(crate) life: u8,
}

/// Both, and their script.
#[derive(Clone)]
pub(crate) struct Beside {
    script: Arc<Mutex<Script>>,
    peers: Peers,
    bus: Bus,
}

type Answer<T> = Option<Result<T, String>>;

impl Beside {
    pub(crate) async fn start(peers: &Peers, bus: &Bus, tasks: &Tasks) -> Self {
        let script = Script {
            chaos_knows: Vec::new(),
            recovery_knows: Vec::new(),
            chaos_silent: false,
            problems: Vec::new(),
            unrecovered: Vec::new(),
            told: 0,
            recovery_told: 0,
            address: "127.0.0.1:9".to_owned(),
            recovery_files: Vec::new(),
            life: 1,
        };
        let beside = Self { script: Arc::new(Mutex::new(script)), peers: peers.clone(), bus: bus.clone() };
        beside.serve_chaos(tasks).await;
        beside.serve_faults(tasks).await;
        beside.serve_recovery(tasks).await;
        beside
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    /// As a kill and a start: it knows no run any more, and counts its news anew.
    pub(crate) fn restart_chaos(&self) {
        let mut script = self.script();
        script.chaos_knows.clear();
        script.life += 1;
        script.told = 0;
    }

    /// Chaos tells something; the number is that of its present life.
    pub(crate) async fn tell(&self, run: &[u8], sequence: u64, at_unix_ns: i64, event: &Event) {
        let life = self.script().life;
        let news = v1::FaultNews {
            run: run.to_vec(),
            sequence,
            at_unix_ns,
            event_json: serde_json::to_string(event).unwrap(),
        };
        self.bus.record(&key(run, life, sequence), &news).await.unwrap();
    }

    /// Recovery tells something.
    pub(crate) async fn recovery_tells(&self, run: &[u8], sequence: u64, at_unix_ns: i64, event: &Event) {
        let news = v1::RecoveryNews {
            run: run.to_vec(),
            sequence,
            at_unix_ns,
            event_json: serde_json::to_string(event).unwrap(),
        };
        self.bus.record(&key(run, 100, sequence), &news).await.unwrap();
    }

    /// Recovery asks for less load; what was refused.
    pub(crate) async fn shed(&self, run: &[u8], incident: &str, keep: f64) -> String {
        let command = v1::ShedLoad { run: run.to_vec(), incident: incident.to_owned(), keep };
        self.bus.command(&Address::Service, &command, Duration::from_secs(60)).await.unwrap().refused
    }

    /// `known`, unless chaos does not know the run.
    fn chaos<T>(&self, run: &[u8], what: &str, known: impl FnOnce(&mut Script) -> T) -> Answer<T> {
        self.peers.note(format!("chaos {what}"));
        let mut script = self.script();
        if script.chaos_silent {
            return None;
        }
        if script.chaos_knows != run {
            return Some(Err("chaos does not know this run".to_owned()));
        }
        Some(Ok(known(&mut script)))
    }

    async fn serve_chaos(&self, tasks: &Tasks) {
        self.answer(tasks, |beside, open: v1::OpenChaos| {
            beside.peers.note("chaos open");
            let mut script = beside.script();
            if script.chaos_silent {
                return None;
            }
            script.chaos_knows = open.run;
            let detour = v1::Detour {
                target: "app".to_owned(),
                endpoint: 0,
                address: script.address.clone(),
                phases: vec![0],
            };
            Some(Ok(v1::OpenChaosReply {
                problems: script.problems.clone(),
                detours: vec![detour],
                proxy_url: "http://127.0.0.1:8".to_owned(),
                proxy_token: "secret".to_owned(),
                planned_json: Vec::new(),
            }))
        })
        .await;
        self.answer(tasks, |beside, begin: v1::BeginChaosPhase| {
            beside.chaos(&begin.run, &format!("begin {}", begin.phase), |_| v1::Ack {})
        })
        .await;
        self.answer(tasks, |beside, end: v1::EndChaosPhase| {
            let what = format!("end {} {}", end.phase, end.reason);
            beside.chaos(&end.run, what.trim_end(), |script| v1::ChaosPhaseEnded {
                unrecovered: script.unrecovered.clone(),
                last_sequence: script.told,
            })
        })
        .await;
        self.answer(tasks, |beside, close: v1::CloseChaos| {
            beside.chaos(&close.run, "close", |script| v1::ChaosClosed {
                unrecovered: Vec::new(),
                last_sequence: script.told,
            })
        })
        .await;
    }

    async fn serve_faults(&self, tasks: &Tasks) {
        self.answer(tasks, |beside, inject: v1::InjectFault| {
            let what = format!("inject {} by {}", inject.fault_toml.trim_end(), inject.by);
            beside.chaos(&inject.run, &what, |_| {
                let refused =
                    if inject.fault_toml.contains("kill") { "" } else { "what is this?" }.to_owned();
                v1::InjectFaultReply { refused, fault: "by hand".to_owned() }
            })
        })
        .await;
        self.answer(tasks, |beside, stop: v1::StopFault| {
            let what = format!("stop {} by {}", stop.fault, stop.by);
            beside.chaos(&stop.run, &what, |_| v1::StopFaultReply {
                refused: String::new(),
                ended: vec!["by hand".to_owned()],
            })
        })
        .await;
        self.answer(tasks, |beside, query: v1::QueryFaults| {
            let script = beside.script();
            if script.chaos_silent {
                return None;
            }
            if script.chaos_knows != query.run {
                return Some(Err("chaos does not know this run".to_owned()));
            }
            let view = FaultView { planned: planned(), state: FaultState::Planned, detail: String::new() };
            let faults_json = vec![serde_json::to_string(&view).unwrap()];
            Some(Ok(v1::Faults { faults_json, capabilities_json: Vec::new() }))
        })
        .await;
    }

    async fn serve_recovery(&self, tasks: &Tasks) {
        self.answer(tasks, |beside, open: v1::OpenRecovery| {
            let detours = open.detours.len();
            beside.peers.note(format!("recovery open {} {} {detours}", open.proxy_url, open.proxy_token));
            let mut script = beside.script();
            (script.recovery_knows, script.recovery_files) = (open.run, open.files);
            Some(Ok(v1::OpenRecoveryReply::default()))
        })
        .await;
        self.answer(tasks, |beside, begin: v1::BeginRecoveryPhase| {
            beside.peers.note(format!("recovery begin {}", begin.phase));
            Some(Ok(v1::Ack {}))
        })
        .await;
        self.answer(tasks, |beside, end: v1::EndRecoveryPhase| {
            beside.peers.note(format!("recovery end {}", end.phase));
            let last_sequence = beside.script().recovery_told;
            Some(Ok(v1::RecoveryPhaseEnded { open: Vec::new(), last_sequence }))
        })
        .await;
        self.answer(tasks, |beside, _: v1::CloseRecovery| {
            beside.peers.note("recovery close");
            Some(Ok(v1::Ack {}))
        })
        .await;
        self.answer(tasks, |beside, query: v1::QueryRecovery| {
            if beside.script().recovery_knows != query.run {
                return Some(Err("recovery does not know this run".to_owned()));
            }
            let status_json = serde_json::to_string(&RecoveryView::default()).unwrap();
            Some(Ok(v1::RecoveryStatus { status_json }))
        })
        .await;
    }

    /// Serves one command; no reply = never an answer.
    async fn answer<C>(&self, tasks: &Tasks, with: impl Fn(&Self, C) -> Answer<C::Reply> + Send + 'static)
    where
        C: Command + Send,
        C::Reply: Send,
    {
        let mut requests: Requests<C> = self.bus.serve(Address::Service).await.unwrap();
        let beside = self.clone();
        tasks.spawn("beside", OnError::Log, async move {
            let mut unanswered = Vec::new();
            while let Some(request) = requests.next().await {
                let (body, replier) = request.into_parts();
                match with(&beside, body) {
                    Some(answer) => replier.reply(answer),
                    None => unanswered.push(replier),
                }
            }
            Ok::<(), String>(())
        });
    }
}

fn key(run: &[u8], life: u8, sequence: u64) -> RecordKey {
    RecordKey { producer: run.try_into().unwrap(), incarnation: [life; 16], sequence, part: 0 }
}

pub(crate) fn planned() -> PlannedFault {
    PlannedFault {
        fault: "slow".to_owned(),
        recipe: "latency".to_owned(),
        target: "app".to_owned(),
        phase: 0,
        at_ms: 100,
        duration_ms: 500,
        victims: Vec::new(),
        parameters: "50ms".to_owned(),
        stop: "none".to_owned(),
        by: "plan".to_owned(),
    }
}

pub(crate) fn opened(incident: &str) -> Event {
    Event::IncidentOpened {
        incident: incident.to_owned(),
        target: "app".to_owned(),
        issue: Issue::ComponentFailure,
        instance: None,
        seen: "connection refused".to_owned(),
        fault: Some("slow".to_owned()),
        detected_after_ms: Some(40),
    }
}

pub(crate) fn closed(incident: &str, recovered_after_ms: u64) -> Event {
    Event::IncidentClosed {
        incident: incident.to_owned(),
        target: "app".to_owned(),
        how: "the fault ended".to_owned(),
        fault: Some("slow".to_owned()),
        recovered_after_ms,
        validated_after_ms: 5,
    }
}
