//! `[phases.*]`: the presets with what the plan says instead.

use std::collections::BTreeMap;
use std::time::Duration;

use super::json;
use super::thresholds::{self, Names};
use crate::model::{LoadModel, LogLevel, OnFailure, Phase, PhaseName, Range, Tier};
use crate::presets::{self, MAX_WAITING_SECONDS, RATE_PER_WALK_CONNECTION};
use crate::reader::{Field, Section};
use crate::spec;
use crate::threshold::Threshold;
use crate::units;

/// Reads all phases, so that each mistake is found, and keeps those that run.
pub(super) fn phases(
    root: &Section<'_>,
    tier: Option<Tier>,
    run_phases: Option<&[PhaseName]>,
    names: &Names<'_>,
    lists: &mut BTreeMap<&'static str, Vec<Threshold>>,
) -> Vec<Phase> {
    let tables = root.section("phases", spec::PHASE_TABLES);
    let mut found = Vec::new();
    for name in PhaseName::ALL {
        let runs = run_phases.map_or_else(
            || presets::tier_phases(tier).contains(&name) || tables.has(name.name()),
            |chosen| chosen.contains(&name),
        );
        let section = tables.section(name.name(), spec::PHASE);
        let mut phase = phase(&section, name, tier, names);
        section.finish();
        if let Some(mut list) = lists.remove(name.name()) {
            list.append(&mut phase.thresholds);
            phase.thresholds = list;
        }
        if runs {
            found.push(phase);
        }
    }
    tables.finish();
    found
}

fn phase(section: &Section<'_>, name: PhaseName, tier: Option<Tier>, names: &Names<'_>) -> Phase {
    let preset = presets::phase(name, tier);
    let duration = section.get("duration").and_then(|f| f.some_duration()).unwrap_or(preset.duration);
    let model = super::load_model::read(section, name, &preset, duration);
    let connections = section
        .get("connections")
        .and_then(|field| connections(&field, &model))
        .unwrap_or_else(|| default_connections(&model, name, preset.connections));
    let max_users = section
        .get("max-users")
        .and_then(|field| max_users(&field, &model))
        .unwrap_or_else(|| default_users(&model, connections));
    let max_waiting = section
        .get("max-waiting")
        .and_then(|field| field.whole(0..=spec::MANY))
        .unwrap_or_else(|| default_waiting(&model));
    Phase {
        name,
        duration,
        connections,
        max_users,
        max_waiting,
        cpu: range(section.get("cpu"), preset.cpu),
        memory: range(section.get("memory"), preset.memory),
        trace_sampling: section
            .get("trace-sampling")
            .and_then(|f| f.share())
            .unwrap_or(preset.trace_sampling),
        log_level: section
            .get("log-level")
            .and_then(|field| field.word(spec::LEVELS))
            .and_then(|index| LEVELS.get(index).copied())
            .unwrap_or(preset.log_level),
        thresholds: section.get("thresholds").map(|f| thresholds::list(&f, names)).unwrap_or_default(),
        scenario_config: scenario_config(section, names),
        objectives: objectives(section, name),
        on_objective_failure: section
            .get("on-objective-failure")
            .and_then(|f| on_failure(&f))
            .unwrap_or(OnFailure::Continue),
        model,
    }
}

const LEVELS: [LogLevel; 5] =
    [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];

fn connections(field: &Field<'_>, model: &LoadModel) -> Option<u32> {
    let count = field.whole(0..=spec::MOST_USERS)?;
    match (model, count) {
        (LoadModel::None, 0) => Some(0),
        (LoadModel::None, _) => {
            field.problem("a phase without load has no connections", "leave the key out, or give it a rate")
        }
        (_, 0) => field.problem("load without a connection cannot be sent", "name at least 1 connection"),
        (_, count) => Some(count),
    }
}

fn max_users(field: &Field<'_>, model: &LoadModel) -> Option<u32> {
    let count = field.whole(0..=spec::MOST_USERS)?;
    match (model, count) {
        (LoadModel::None, _) => Some(0),
        (_, 0) => {
            field.problem("load without a user cannot be sent", "let at least 1 operation be in progress")
        }
        (_, count) => Some(count),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are from 0 to 1e8")]
fn default_connections(model: &LoadModel, name: PhaseName, preset: u32) -> u32 {
    let per_rate = |rate: f64| ((rate / RATE_PER_WALK_CONNECTION).ceil() as u32).max(1);
    match model {
        LoadModel::None => 0,
        LoadModel::Closed { users, start_users, .. } => *users.max(start_users),
        LoadModel::Walk { ceiling, .. } => per_rate(*ceiling),
        LoadModel::Open { rate, start_rate, .. } if name == PhaseName::Chaos => {
            per_rate(rate.max(*start_rate))
        }
        LoadModel::Open { .. } => preset.max(1),
    }
}

fn default_users(model: &LoadModel, connections: u32) -> u32 {
    match model {
        LoadModel::None => 0,
        LoadModel::Closed { users, start_users, .. } => *users.max(start_users),
        LoadModel::Open { .. } | LoadModel::Walk { .. } => connections,
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are from 0 to 1e8")]
fn default_waiting(model: &LoadModel) -> u64 {
    let seconds = |rate: f64| (rate * MAX_WAITING_SECONDS).ceil() as u64;
    match model {
        LoadModel::None => 0,
        LoadModel::Open { start_rate, rate, .. } => seconds(rate.max(*start_rate)),
        LoadModel::Walk { ceiling, .. } => seconds(*ceiling),
        LoadModel::Closed { start_users, users, .. } => u64::from(*users.max(start_users)),
    }
}

/// `[min, max]` or `any`.
fn range(field: Option<Field<'_>>, preset: Option<Range>) -> Option<Range> {
    let Some(field) = field else { return preset };
    if !matches!(field.node.content, crate::tree::Content::List(_)) {
        if field.word(&["any"]).is_none() {
            return preset;
        }
        return None;
    }
    let items = field.list("shares");
    let [min, max] = items.as_slice() else {
        return field.wrong("two shares, [min, max]", "such as [\"10%\", \"20%\"]");
    };
    let (min, max) = (min.share()?, max.share()?);
    if min > max {
        return field.problem("the lower end is above the upper end", "swap them");
    }
    Some(Range { min, max })
}

fn scenario_config(section: &Section<'_>, names: &Names<'_>) -> BTreeMap<String, serde_json::Value> {
    let mut found = BTreeMap::new();
    for (name, field) in section.get("scenarios").map(|field| field.named()).unwrap_or_default() {
        if !field.is_table() {
            field.wrong::<()>("a table", "it changes keys of the scenario's `config`");
        } else if let Some(name) = names.scenario(&field, name) {
            found.insert(name, json(field.reader, field.node, &field.path));
        }
    }
    found
}

fn objectives(section: &Section<'_>, name: PhaseName) -> BTreeMap<String, f64> {
    let defaults = presets::objectives(name);
    let mut found: BTreeMap<String, f64> =
        defaults.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect();
    for (key, field) in section.get("objectives").map(|field| field.named()).unwrap_or_default() {
        if let Some(parameter) = found.get_mut(&key) {
            *parameter = field.number(0.0, 1e9).unwrap_or(*parameter);
            continue;
        }
        let known: Vec<&str> = defaults.iter().map(|(key, _)| *key).collect();
        let mend = match units::nearest(&key, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "leave it out".to_owned(),
            None => format!("known here: {}", known.join(", ")),
        };
        field.misplaced(format!("the objectives of {} have no such parameter", name.name()), mend);
    }
    found
}

fn on_failure(field: &Field<'_>) -> Option<OnFailure> {
    if !field.is_table() {
        let choice = field.word(&["continue", "abort"])?;
        return Some(if choice == 0 { OnFailure::Continue } else { OnFailure::Abort });
    }
    let section = field.section(spec::HOLD)?;
    let max = section.need("hold").and_then(|hold: Field<'_>| hold.some_duration());
    section.finish();
    max.map(|max: Duration| OnFailure::Hold { max })
}
