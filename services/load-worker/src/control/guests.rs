//! Guests of a run: loaded, configured once for every phase's configuration, timed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use plan::Plan;
use plan::model::{Phase, Scenario};
use protocol::v1;
use sandbox::abi::{RowOrder, Setup, Slice, Start};
use sandbox::{ConfigureError, Guest, Host};

use super::mix::{Mapped, Names, merged};
use super::prepare::{Kind, problem};
use super::trial::Trial;
use crate::environment::with_environment;
use crate::feeder::{Feeder, Order, Selection};
use crate::schedule::{Stream, draw};
use crate::spec::ScenarioSpec;

/// A scenario, ready.
pub(super) struct Prepared {
    pub(super) spec: ScenarioSpec,
    pub(super) names: Names,
    /// Name and version of its guest, and its digest.
    pub(super) guest: String,
    pub(super) digest: String,
    /// Per phase.
    pub(super) phases: Vec<PhasePart>,
    /// What a call costs a request, nanoseconds; 0 = the probe got no request out of the guest.
    pub(super) guest_ns: u32,
    /// How a turn of its guest shows that the plan is wrong; `None` = it does not say.
    pub(super) trial: Option<Trial>,
}

/// A scenario in a phase.
#[derive(Clone, Debug)]
pub(super) struct PhasePart {
    pub(super) config: String,
    pub(super) mapped: Mapped,
}

/// What loading needs and shares.
pub(super) struct Loader<'a> {
    pub(super) plan: &'a Plan,
    pub(super) phases: &'a [Phase],
    pub(super) files: &'a BTreeMap<String, PathBuf>,
    pub(super) host: &'a Host,
    feeders: BTreeMap<String, Option<Arc<Feeder>>>,
    problems: Vec<v1::Problem>,
}

/// The feeds of a setup, in its order.
type Feeds = Vec<(Arc<Feeder>, Selection, Order)>;

impl<'a> Loader<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        phases: &'a [Phase],
        files: &'a BTreeMap<String, PathBuf>,
        host: &'a Host,
    ) -> Self {
        Self { plan, phases, files, host, feeders: BTreeMap::new(), problems: Vec::new() }
    }

    /// Loads all scenarios. Blocks: guests may have to be compiled. All that is wrong comes at once; the list is whole only
    /// without problems.
    pub(super) fn load(mut self) -> (Vec<Prepared>, Vec<v1::Problem>) {
        let scenarios = &self.plan.scenarios;
        // One file is loaded once, however many scenarios it serves.
        let mut guests: BTreeMap<PathBuf, Option<Guest>> = BTreeMap::new();
        let mut ready = Vec::with_capacity(scenarios.len());
        for (index, scenario) in scenarios.iter().enumerate() {
            let Some(path) = self.file(&format!("guest:{index}"), &scenario.name) else { continue };
            let guest = match guests.get(&path) {
                Some(known) => known.clone(),
                None => {
                    let loaded = self.guest(scenario, &path);
                    guests.insert(path, loaded.clone());
                    loaded
                }
            };
            let Some(guest) = guest else { continue };
            ready.extend(self.scenario(scenario, &guest));
        }
        (ready, self.problems)
    }

    fn file(&mut self, name: &str, scenario: &str) -> Option<PathBuf> {
        let found = self.files.get(name).cloned();
        if found.is_none() {
            let message = format!("scenario {scenario}: the bundle has no file {name}");
            let mend = "start the run from the plan's directory, so that its files are bundled";
            self.problems.push(problem(Kind::Plan, message, mend));
        }
        found
    }

    fn guest(&mut self, scenario: &Scenario, path: &std::path::Path) -> Option<Guest> {
        self.host
            .load(path)
            .map_err(|e| {
                // Where the bundle keeps it says nothing to the user: as the plan names it.
                let said = chain(&e).replace(&path.display().to_string(), &scenario.guest.to_string());
                let message = format!("scenario {}: {said}", scenario.name);
                let mend = "build it against gauntlet:scenario with the SDK, or name another guest";
                self.problems.push(problem(Kind::Guest, message, mend));
            })
            .ok()
    }

    fn scenario(&mut self, scenario: &Scenario, guest: &Guest) -> Option<Prepared> {
        let before = self.problems.len();
        let mut names = Names::default();
        let mut feeds = BTreeMap::new();
        let mut setups: BTreeMap<String, Mapped> = BTreeMap::new();
        let mut guest_ns = 0;
        let plan_wide = format!("scenario {}", scenario.name);
        let base = self.filled(&plan_wide, &scenario.config)?;
        if let Some((setup, rows)) = self.configure(&plan_wide, guest, &base, &mut feeds) {
            setups.insert(base.clone(), names.add(&setup));
            guest_ns = probe(guest, &base, self.plan.seed, &rows);
        }
        let mut phases = Vec::with_capacity(self.phases.len());
        for phase in self.phases {
            let here = format!("phase {}, scenario {}", phase.name.name(), scenario.name);
            let config = merged(&scenario.config, phase.scenario_config.get(&scenario.name));
            let Some(config) = self.filled(&here, &config) else { continue };
            if !setups.contains_key(&config)
                && config != base
                && let Some((setup, _)) = self.configure(&here, guest, &config, &mut feeds)
            {
                setups.insert(config.clone(), names.add(&setup));
            }
            if let Some(mapped) = setups.get(&config).cloned() {
                phases.push(PhasePart { config, mapped });
            }
        }
        if self.problems.len() > before {
            return None;
        }
        let targets = scenario.targets.iter().filter_map(|name| {
            let at = self.plan.targets.iter().position(|t| t.name == *name)?;
            u32::try_from(at).ok()
        });
        let descriptor = guest.descriptor();
        Some(Prepared {
            spec: ScenarioSpec {
                name: scenario.name.clone(),
                guest: Arc::new(guest.clone()),
                targets: targets.collect(),
                timeout: scenario.timeout,
                response_timeout: scenario.response_timeout,
                feeds,
            },
            names,
            guest: format!("{}@{}", descriptor.name, descriptor.version),
            digest: guest.digest().to_owned(),
            phases,
            guest_ns,
            trial: Trial::read(&descriptor.config_schema),
        })
    }

    /// A configuration as the guest gets it, with what comes from this process's environment.
    fn filled(&mut self, place: &str, config: &serde_json::Value) -> Option<String> {
        match with_environment(config, &|name| std::env::var(name).ok()) {
            Ok(config) => Some(config.to_string()),
            Err(missing) => {
                self.problems.extend(missing.iter().map(|name| {
                    let message = format!(
                        "{place}: its config wants {name} of the environment, which the load-worker does not have"
                    );
                    problem(Kind::Environment, message, "set it where load-workers are started")
                }));
                None
            }
        }
    }

    /// Tries a configuration with a throw-away instance.
    fn configure(
        &mut self,
        place: &str,
        guest: &Guest,
        config: &str,
        feeds: &mut BTreeMap<String, Arc<Feeder>>,
    ) -> Option<(Setup, Feeds)> {
        let seed = guest_seed(self.plan.seed);
        let setup = match guest.instantiate(config, seed, 1) {
            Ok(instance) => instance.setup().clone(),
            Err(ConfigureError::Problems(found)) => {
                self.problems.extend(found.into_iter().map(|p| {
                    let at = if p.path.is_empty() { String::new() } else { format!(".{}", p.path) };
                    problem(Kind::Plan, format!("{place}, config{at}: {}", p.message), p.mend)
                }));
                return None;
            }
            Err(e @ ConfigureError::Fault(_)) => {
                let mend = "report it to the guest's author; a simpler `config` may avoid it";
                self.problems.push(problem(
                    Kind::Guest,
                    format!("{place}: the guest failed over its `config`: {e}"),
                    mend,
                ));
                return None;
            }
        };
        let mut rows = Vec::with_capacity(setup.feeds.len());
        for feed in &setup.feeds {
            let Some(feeder) = self.feeder(place, &feed.file) else { continue };
            match feeder.select(&feed.columns) {
                Ok(selection) => {
                    let order = match feed.order {
                        RowOrder::Sequential => Order::Sequential,
                        RowOrder::Random => Order::Random,
                    };
                    rows.push((Arc::clone(&feeder), selection, order));
                }
                Err(e) => self.problems.push(problem(Kind::Plan, format!("{place}: {e}"), e.mend)),
            }
            feeds.insert(feed.file.clone(), feeder);
        }
        Some((setup, rows))
    }

    /// Opens a feeder once, and reports its problems once.
    fn feeder(&mut self, place: &str, name: &str) -> Option<Arc<Feeder>> {
        if let Some(known) = self.feeders.get(name) {
            return known.clone();
        }
        let opened = match self.files.get(&format!("feed:{name}")) {
            Some(path) => Feeder::open(name, path).map_err(|e| (e.message, e.mend)),
            None => {
                let message = format!("feeder {name}: the bundle has no file feed:{name}");
                Err((message, "check the path; it counts from the plan's directory".to_owned()))
            }
        };
        let feeder = match opened {
            Ok(feeder) => Some(Arc::new(feeder)),
            Err((message, mend)) => {
                self.problems.push(problem(Kind::Plan, format!("{place}: {message}"), mend));
                None
            }
        };
        self.feeders.insert(name.to_owned(), feeder.clone());
        feeder
    }
}

/// The seed that throw-away instances get; the run's own are the load threads'.
const fn guest_seed(seed: u64) -> u64 {
    draw(seed, 0, Stream::Guest, 0)
}

/// Measures what a call costs a request: the best of a few batches on an instance of its own. A guest that fails here
/// fails in the run too, where it is counted and shown; the probe only says so in the log.
fn probe(guest: &Guest, config: &str, seed: u64, feeds: &Feeds) -> u32 {
    const BATCH: u32 = 64;
    const BATCHES: u32 = 4;
    let Ok(mut instance) = guest.instantiate(config, guest_seed(seed), BATCH * BATCHES) else { return 0 };
    let mut best = None;
    for batch in 0..BATCHES {
        let mut arena = Vec::new();
        let mut starts = Vec::with_capacity(BATCH as usize);
        for user in batch * BATCH..(batch + 1) * BATCH {
            let arrival = u64::from(user);
            let off = arena.len() as u32;
            for (feeder, selection, order) in feeds {
                feeder.encode(feeder.row_of(*order, seed, 0, arrival), selection, &mut arena);
            }
            starts.push(Start { user, arrival, rows: Slice { off, len: arena.len() as u32 - off } });
        }
        let begin = Instant::now();
        match instance.step(0, &starts, &[], &arena) {
            Ok(output) if !output.requests.is_empty() => {
                let ns = begin.elapsed().as_nanos() / output.requests.len() as u128;
                let ns = u32::try_from(ns).unwrap_or(u32::MAX).max(1);
                best = Some(best.map_or(ns, |b: u32| b.min(ns)));
            }
            Ok(_) => {}
            Err(fault) => {
                tracing::warn!(guest = guest.descriptor().name, %fault, "the guest failed when it was timed");
                break;
            }
        }
    }
    best.unwrap_or(0)
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(e) = cause {
        text = format!("{text}: {e}");
        cause = e.source();
    }
    text
}
