//! `[thresholds]` and the `thresholds` of phases.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{Scenario, Target};
use crate::reader::{Field, Section};
use crate::spec;
use crate::threshold::{Check, Threshold};
use crate::units;

/// What a threshold may name.
pub(super) struct Names<'a> {
    pub(super) scenarios: &'a [Scenario],
    pub(super) targets: &'a [Target],
}

impl Names<'_> {
    pub(super) fn scenario(&self, field: &Field<'_>, name: String) -> Option<String> {
        known(field, name, "scenario", self.scenarios.iter().map(|scenario| scenario.name.as_str()))
    }

    fn target(&self, field: &Field<'_>, name: String) -> Option<String> {
        known(field, name, "target", self.targets.iter().map(|target| target.name.as_str()))
    }
}

pub(super) fn known<'a>(
    field: &Field<'_>,
    name: String,
    what: &str,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Option<String> {
    if names.clone().any(|known| known == name) {
        return Some(name);
    }
    let mend = units::nearest(&name, names.clone()).map_or_else(
        || format!("the plan has: {}", names.collect::<Vec<_>>().join(", ")),
        |near| format!("did you mean {near:?}?"),
    );
    field.misplaced(format!("there is no {what} {name:?} in the plan"), mend);
    None
}

/// `[thresholds]`: by `run` or phase.
pub(super) fn lists(root: &Section<'_>, names: &Names<'_>) -> BTreeMap<&'static str, Vec<Threshold>> {
    let section = root.section("thresholds", spec::THRESHOLD_LISTS);
    let found = spec::THRESHOLD_LISTS
        .iter()
        .filter_map(|key| Some((key.name, list(&section.get(key.name)?, names))))
        .collect();
    section.finish();
    found
}

pub(super) fn list(field: &Field<'_>, names: &Names<'_>) -> Vec<Threshold> {
    field.list("thresholds such as \"p(99) < 300ms\"").iter().filter_map(|item| one(item, names)).collect()
}

fn one(field: &Field<'_>, names: &Names<'_>) -> Option<Threshold> {
    if !field.is_table() {
        return check(field).map(Threshold::from);
    }
    let section = field.section(spec::THRESHOLD)?;
    let check = section.need("check").and_then(|field| check(&field));
    let named = |key| section.get(key).and_then(|field: Field<'_>| Some((field.text()?, field)));
    let rest = (
        section.get("over").and_then(|field| field.some_duration()),
        section.get("abort").and_then(|field| field.boolean()).unwrap_or(false),
        section.get("delay").and_then(|field| field.duration()).unwrap_or(Duration::ZERO),
        named("scenario").and_then(|(name, field)| names.scenario(&field, name)),
        section.get("step").and_then(|field| field.text()),
        named("target").and_then(|(name, field)| names.target(&field, name)),
    );
    section.finish();
    let (over, abort, delay, scenario, step, target) = rest;
    Some(Threshold { over, abort, delay, scenario, step, target, ..Threshold::from(check?) })
}

pub(super) fn check(field: &Field<'_>) -> Option<Check> {
    let text = field.text()?;
    match text.parse() {
        Ok(check) => Some(check),
        Err(crate::threshold::InvalidCheck { message, mend }) => field.problem(message, mend),
    }
}
