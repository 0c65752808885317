//! The trial: one turn of a scenario before the load, played for what it shows of the plan.
//!
//! A wrong token, a path where nothing is or a revision that a server does not speak is seen at the first answer, and
//! whoever waits for the run's end to be told has waited in vain. So a worker plays a turn of each scenario while it prepares a run that
//! has not begun: with one user, on a load thread of its own, as phases do. Nothing of it counts in the run.
//!
//! Only signs that the guest itself declares end the run ([`Trial`]): what they are of is the plan, not the target's state. A
//! target that is slow, down, overloaded or broken is for the checks before a phase, and for the run, which may be about just that.

mod signs;
mod spy;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use plan::Plan;
use plan::model::{Arrivals, LoadModel, Phase};
use protocol::id::IncarnationId;
use protocol::v1;

use super::guests::Prepared;
use super::mix::merged;
use super::prepare::{Kind, problem};
use crate::engine;
use crate::lease::Lease;
use crate::record::{Layout, Owner, Recorder, RunSpool, ScenarioLayout};
use crate::schedule::Share;
use crate::spec::{
    EngineCommand, EngineEvent, PhaseScenario, PhaseSpec, ScenarioSpec, TargetSpec, ThreadSpec,
};
pub(super) use signs::Trial;
use spy::{Failed, Spy};

/// How long a turn waits for a connection: where nobody answers, the checks before a phase say so.
const BEGIN: Duration = Duration::from_secs(2);
/// How long it may go on then. Mistakes show in the first answers; what takes longer is cut off, and shows nothing.
const TURN: Duration = Duration::from_secs(5);
/// Connections that it may hold at most: enough for streams beside requests, and for a few requests at a time.
const CONNECTIONS: u32 = 8;

/// What trials are played with.
pub(super) struct Stage<'a> {
    pub(super) plan: &'a Plan,
    /// Those of the run, after scaling.
    pub(super) phases: &'a [Phase],
    /// All scenarios of the plan, in its order.
    pub(super) scenarios: &'a [Prepared],
    /// What a load thread of the run is told.
    pub(super) thread: ThreadSpec,
    pub(super) owner: Owner,
    /// Where spools are.
    pub(super) dir: &'a Path,
}

impl Stage<'_> {
    /// Plays a turn of each scenario whose plan and guest want it, all at a time. `number` tells this worker's turns from
    /// those of others. Returns what the turns show to be wrong with the plan.
    pub(super) async fn play(self, number: u32) -> Vec<v1::Problem> {
        let loaded = |phase: &&Phase| phase.model != LoadModel::None;
        let Some((first, phase)) = self.phases.iter().enumerate().find(|(_, phase)| loaded(phase)) else {
            return Vec::new();
        };
        // Behind all phases of the run: no arrival of it has the same number, and with it the same draws.
        let count = u32::try_from(self.phases.len()).unwrap_or(u32::MAX);
        let turns = self.scenarios.iter().zip(&self.plan.scenarios).filter_map(|(prepared, scenario)| {
            let declared = prepared.trial.clone().filter(|_| scenario.trial)?;
            let config = prepared.phases.get(first)?.config.clone();
            Some(Turn {
                declared,
                config,
                scenario: prepared.spec.clone(),
                thread: self.thread.clone(),
                phase: count.saturating_add(number),
                connections: phase.connections.clamp(1, CONNECTIONS),
                patience: Patience { begin: BEGIN, turn: TURN },
                owner: self.owner,
                dir: self.dir.to_owned(),
            })
        });
        let playing: Vec<_> =
            turns.map(|turn| tokio::task::spawn_blocking(move || turn.problems())).collect();
        let mut problems = Vec::new();
        for turn in playing {
            match turn.await {
                Ok(found) => problems.extend(found),
                Err(error) => tracing::warn!(%error, "a trial ended by a bug of ours"),
            }
        }
        problems
    }
}

/// A turn that is to be played.
struct Turn {
    declared: Trial,
    /// The scenario's configuration in the first phase with load.
    config: String,
    scenario: ScenarioSpec,
    thread: ThreadSpec,
    /// The phase's number, which no phase of the run has.
    phase: u32,
    connections: u32,
    patience: Patience,
    owner: Owner,
    dir: PathBuf,
}

/// How long a turn waits for its connection, and how long it may go on then.
#[derive(Clone, Copy)]
struct Patience {
    begin: Duration,
    turn: Duration,
}

impl Turn {
    /// Plays it, and says what is wrong with the plan. Blocks for both patiences at most.
    fn problems(self) -> Vec<v1::Problem> {
        let (declared, scenario, targets) =
            (self.declared.clone(), self.scenario.clone(), self.thread.targets.clone());
        match self.play() {
            Ok(failed) => {
                let mistakes = declared.mistakes(&failed).into_iter();
                mistakes.map(|(failed, mend)| told(&scenario, &targets, failed, mend)).collect()
            }
            Err(error) => {
                // The run goes on without: what is wrong there is found by it, too.
                tracing::warn!(scenario = scenario.name, error, "a trial could not be played");
                Vec::new()
            }
        }
    }

    /// Plays it, and says which of the guest's checks failed. One that did not begin, or did not end, shows what it showed so far.
    fn play(self) -> Result<Vec<Failed>, String> {
        let (spy, config) = self.spy()?;
        let patience = self.patience;
        let seen = spy.seen();
        let parts = seen.parts();
        let targets = self.scenario.targets.len() as u32;
        let layout = Layout::new(vec![ScenarioLayout {
            steps: parts.steps,
            targets: self.scenario.targets.clone(),
            checks: parts.checks,
            metrics: parts.metrics,
        }]);
        let phase = PhaseSpec {
            phase: self.phase,
            t0: Instant::now(),
            duration: Duration::from_secs(1),
            // One arrival, which is due at once.
            model: LoadModel::Open {
                start_rate: 1.0,
                rate: 1.0,
                ramp: Duration::ZERO,
                arrivals: Arrivals::Even,
            },
            share: Share::whole(),
            connections: self.connections,
            total_connections: self.connections,
            users: 1,
            total_users: 1,
            capacity: 1,
            max_waiting: 1,
            weights: vec![1.0],
            scenarios: vec![PhaseScenario {
                config,
                series: (0..layout.len()).collect(),
                targets,
                checks: (0..parts.checks).collect(),
                metrics: (0..parts.metrics).collect(),
            }],
        };
        let spec = ThreadSpec {
            scenarios: vec![ScenarioSpec { guest: Arc::new(spy), ..self.scenario }],
            // It is over before anybody else could be given its part.
            lease: Lease::for_ever(),
            ..self.thread
        };
        let recorder = recorder(&self.dir, self.owner, layout)?;
        let (sender, events) = channel();
        let tell = move |event| {
            // Nobody listens any more when the thread is told to end.
            let _ = sender.send(event);
        };
        let thread = engine::start(spec, recorder, tell).map_err(|error| error.to_string())?;
        let number = phase.phase;
        thread.send(EngineCommand::StartPhase(Box::new(phase)));
        // The one arrival is taken before the phase stops, and may wait for its connection.
        thread.send(EngineCommand::EndPhase { phase: number, grace: patience.turn, drains: true });
        if !is_over(&events, patience.begin) && seen.has_begun() {
            is_over(&events, patience.turn);
        }
        thread.join();
        Ok(seen.take_failed())
    }

    /// The guest with somebody who looks on, and its configuration: with what it declares for a trial, if it takes that.
    fn spy(&self) -> Result<(Spy, String), String> {
        let guest = || Arc::clone(&self.scenario.guest);
        let seed = self.thread.seed;
        if let Some(over) = &self.declared.config
            && let Ok(base) = serde_json::from_str(&self.config)
        {
            let config = merged(&base, Some(over)).to_string();
            if let Ok(spy) = Spy::on(guest(), &config, seed) {
                return Ok((spy, config));
            }
        }
        Ok((Spy::on(guest(), &self.config, seed)?, self.config.clone()))
    }
}

/// A recorder whose numbers go nowhere: its file is gone before anything is counted, whatever becomes of this process.
fn recorder(dir: &Path, owner: Owner, layout: Layout) -> Result<Recorder, String> {
    let owner = Owner { incarnation: IncarnationId::new(), ..owner };
    let (spool, mut recorders) =
        RunSpool::create(dir, owner, layout, 1).map_err(|error| error.to_string())?;
    spool.remove().map_err(|error| format!("{}: {error}", spool.path().display()))?;
    recorders.pop().ok_or_else(|| "a spool of one thread has no recorder".to_owned())
}

/// Waits until the phase or its thread is over; `false` = it was not within `patience`.
fn is_over(events: &Receiver<EngineEvent>, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        match events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(EngineEvent::PhaseEnded { .. } | EngineEvent::Fatal { .. })
            | Err(RecvTimeoutError::Disconnected) => {
                return true;
            }
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => return false,
        }
    }
}

/// A mistake as the user is told.
fn told(scenario: &ScenarioSpec, targets: &[TargetSpec], failed: &Failed, mend: &str) -> v1::Problem {
    let name = &scenario.name;
    let seen = failed.asked.as_ref().map_or_else(
        || "a turn before the load".to_owned(),
        |asked| {
            let target =
                scenario.targets.get(asked.endpoint as usize).and_then(|at| targets.get(*at as usize));
            let at = match target.map(|target| (&target.name, target.endpoints.as_slice())) {
                Some((name, [only])) => format!("{name} ({}{})", only.url.trim_end_matches('/'), asked.path),
                Some((name, _)) => format!("{name} ({})", asked.path),
                None => asked.path.clone(),
            };
            let answer = match (asked.status, asked.content_type.as_str()) {
                (0, _) => String::new(),
                (status, "") => format!(" with {status}"),
                (status, kind) => format!(" with {status} and {kind}"),
            };
            format!("in a turn before the load, target {at} answered \"{}\"{answer}, which", asked.step)
        },
    );
    let warnings: String = failed.warnings.iter().map(|warning| format!("; {warning}")).collect();
    let message = format!("scenario {name}: {seen} fails \"{}\"{warnings}", failed.check);
    problem(
        Kind::Plan,
        message,
        format!("{mend}; if this is what the run is for, set `trial = false` in the scenario"),
    )
}
