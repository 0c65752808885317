//! A load-worker and a `metrics` that keep to a script.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bus::{Address, Bus, Requests};
use protocol::id::WorkerId;
use protocol::message::Command;
use protocol::v1;
use service::{OnError, Tasks};
use tokio::time::Instant;

use crate::series_of;

/// Changes the series of a phase before they are answered.
type Edit = Box<dyn Fn(&mut v1::PhaseSeries) + Send>;

/// What the peers do, and what was asked of them.
pub(crate) struct Script {
    /// Every command but queries: `worker start 0`, `metrics watch`.
    pub(crate) log: Vec<String>,
    /// When each was received.
    pub(crate) at: Vec<Instant>,
    /// Problems that the worker answers to `prepare`.
    pub(crate) problems: Vec<v1::Problem>,
    /// The run that the worker has prepared, as its heartbeats say; empty = none.
    pub(crate) prepared: Vec<u8>,
    /// The detours that the worker was told.
    pub(crate) detours: Vec<v1::Detour>,
    /// The worker sends heartbeats.
    pub(crate) beating: bool,
    /// `metrics` takes commands and never answers.
    pub(crate) metrics_silent: bool,
    /// It answers all but what its probes saw.
    pub(crate) probes_silent: bool,
    /// The target answers its health check.
    pub(crate) healthy: bool,
    /// Age of every probe's newest sample.
    pub(crate) probe_age: Duration,
    /// What `metrics` answers to an aggregate.
    pub(crate) aggregate: v1::Aggregate,
    /// Changes what `metrics` answers about a phase.
    pub(crate) edit: Edit,
    /// The last batch of the worker never arrives.
    pub(crate) last_batch_lost: bool,
    /// The worker never answers the end of a phase.
    pub(crate) end_silent: bool,
    started: BTreeMap<u32, (i64, u64)>,
    ended: BTreeSet<u32>,
}

/// The peers and their script.
#[derive(Clone)]
pub(crate) struct Peers {
    pub(crate) worker: WorkerId,
    script: Arc<Mutex<Script>>,
    bus: Bus,
}

impl Peers {
    /// Starts both.
    pub(crate) async fn start(bus: &Bus, tasks: &Tasks) -> Self {
        let script = Script {
            log: Vec::new(),
            at: Vec::new(),
            problems: Vec::new(),
            prepared: Vec::new(),
            detours: Vec::new(),
            beating: true,
            metrics_silent: false,
            probes_silent: false,
            healthy: true,
            probe_age: Duration::ZERO,
            aggregate: series_of::aggregate(1),
            edit: Box::new(|_| {}),
            last_batch_lost: false,
            end_silent: false,
            started: BTreeMap::new(),
            ended: BTreeSet::new(),
        };
        let peers = Self { worker: WorkerId::new(), script: Arc::new(Mutex::new(script)), bus: bus.clone() };
        peers.serve_worker(tasks).await;
        peers.serve_metrics(tasks).await;
        let beats = peers.clone();
        tasks.spawn("beats", OnError::Log, async move { beats.beat().await });
        peers
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    /// The commands so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.script().log.clone()
    }

    pub(crate) fn note(&self, text: impl Into<String>) {
        let mut script = self.script();
        script.log.push(text.into());
        script.at.push(Instant::now());
    }

    async fn beat(&self) -> Result<(), String> {
        loop {
            use v1::heartbeat::State;
            let run = self.script().prepared.clone();
            let (state, incarnation) =
                if run.is_empty() { (State::Idle, Vec::new()) } else { (State::Ready, vec![1; 16]) };
            let beat = v1::Heartbeat {
                worker: self.worker.to_bytes(),
                run,
                incarnation,
                state: state.into(),
                load_threads: 1,
                ..Default::default()
            };
            if self.script().beating {
                self.bus.broadcast(&beat).await.map_err(|error| error.to_string())?;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn serve_worker(&self, tasks: &Tasks) {
        let me = Address::Instance(self.worker.to_string());
        self.answer(tasks, me.clone(), |peers, prepare: v1::PrepareRun| {
            peers.note("worker prepare");
            peers.script().prepared = prepare.run;
            peers.script().detours = prepare.detours;
            Some(v1::PrepareRunReply {
                problems: peers.script().problems.clone(),
                scenarios: vec![v1::ScenarioSteps { steps: vec!["home".to_owned()], ..Default::default() }],
                load_threads: 1,
                guest_ns: vec![400],
                incarnation: vec![1; 16],
                ..Default::default()
            })
        })
        .await;
        self.answer(tasks, me.clone(), |peers, start: v1::StartPhase| {
            peers.note(format!("worker start {}", start.phase));
            peers.script().started.insert(start.phase, (start.t0_unix_ns, start.duration_ns / 1_000_000_000));
            Some(v1::Ack {})
        })
        .await;
        self.answer(tasks, me.clone(), |peers, change: v1::ChangePhase| {
            use v1::change_phase::Change;
            let text = match change.change {
                Some(Change::Rate(rate)) => format!("rate {rate}"),
                Some(Change::Pause(_)) => "pause".to_owned(),
                Some(Change::Resume(_)) => "resume".to_owned(),
                Some(Change::ExtendToNs(ns)) => format!("extend {ns}"),
                Some(Change::RampDownNs(ns)) => format!("ramp-down {ns}"),
                Some(Change::Factor(factor)) => format!("factor {factor}"),
                None => "nothing".to_owned(),
            };
            peers.note(format!("worker {text}"));
            Some(v1::Ack {})
        })
        .await;
        self.answer(tasks, me.clone(), |peers, end: v1::EndPhase| {
            peers.note(format!("worker end {}", end.phase));
            peers.script().ended.insert(end.phase);
            let ended =
                v1::PhaseEnded { arrivals: None, last_sequence: u64::from(end.phase) + 1, alone: false };
            (!peers.script().end_silent).then_some(ended)
        })
        .await;
        self.answer(tasks, me, |peers, _: v1::EndRun| {
            peers.note("worker end-run");
            peers.script().prepared.clear();
            Some(v1::Ack {})
        })
        .await;
    }

    async fn serve_metrics(&self, tasks: &Tasks) {
        self.answer(tasks, Address::Service, |peers, _: v1::WatchRun| {
            peers.note("metrics watch");
            peers.unless_silent(v1::Ack {})
        })
        .await;
        self.answer(tasks, Address::Service, |peers, _: v1::UnwatchRun| {
            peers.note("metrics unwatch");
            peers.unless_silent(v1::Ack {})
        })
        .await;
        self.answer(tasks, Address::Service, |peers, mark: v1::MarkPhase| {
            peers.note(format!("metrics mark {}", mark.phase));
            peers.script().started.entry(mark.phase).or_insert((mark.t0_unix_ns, 0));
            peers.unless_silent(v1::Ack {})
        })
        .await;
        self.answer(tasks, Address::Service, |peers, _: v1::QueryProbes| {
            let states = v1::ProbeStates { probes: peers.probes() };
            let silent = peers.script().probes_silent;
            peers.unless_silent(states).filter(|_| !silent)
        })
        .await;
        self.answer(tasks, Address::Service, |peers, _: v1::QueryAggregate| {
            let aggregate = peers.script().aggregate.clone();
            peers.unless_silent(aggregate)
        })
        .await;
        self.answer(tasks, Address::Service, |peers, query: v1::QueryRun| {
            let phases = query.phase.into_iter().map(|phase| peers.phase(phase)).collect();
            peers.unless_silent(v1::RunSeries { phases })
        })
        .await;
    }

    fn unless_silent<T>(&self, reply: T) -> Option<T> {
        (!self.script().metrics_silent).then_some(reply)
    }

    fn probes(&self) -> Vec<v1::ProbeState> {
        let script = self.script();
        let age_ns = u64::try_from(script.probe_age.as_nanos()).unwrap();
        let health = v1::ProbeState {
            probe: "health http://127.0.0.1:1/".to_owned(),
            interval_ns: 5_000_000_000,
            age_ns: script.healthy.then_some(age_ns),
            samples: 3,
            error: if script.healthy { String::new() } else { "connection refused".to_owned() },
            healthy: script.healthy,
            ..Default::default()
        };
        let cpu = v1::ProbeState { probe: "cpu".to_owned(), age_ns: Some(age_ns), ..health.clone() };
        vec![health, cpu]
    }

    fn phase(&self, phase: u32) -> v1::PhaseSeries {
        let script = self.script();
        let (t0, seconds) = script.started.get(&phase).copied().unwrap_or_default();
        let mut series = if script.log.contains(&format!("worker start {phase}")) {
            let mut series = series_of::phase(phase, seconds.max(1), t0);
            let last = script.ended.contains(&phase) && !script.last_batch_lost;
            series.workers = vec![series_of::progress(self.worker, u64::from(phase) + 1, last)];
            series
        } else {
            series_of::idle(phase, 3, t0)
        };
        (script.edit)(&mut series);
        series
    }

    /// Serves one command; no reply = never an answer.
    async fn answer<C>(
        &self,
        tasks: &Tasks,
        address: Address,
        with: impl Fn(&Self, C) -> Option<C::Reply> + Send + 'static,
    ) where
        C: Command + Send,
        C::Reply: Send,
    {
        let mut requests: Requests<C> = self.bus.serve(address).await.unwrap();
        let peers = self.clone();
        tasks.spawn("peer", OnError::Log, async move {
            let mut unanswered = Vec::new();
            while let Some(request) = requests.next().await {
                let (body, replier) = request.into_parts();
                match with(&peers, body) {
                    Some(reply) => replier.reply(Ok(reply)),
                    None => unanswered.push(replier),
                }
            }
            Ok::<(), String>(())
        });
    }
}
