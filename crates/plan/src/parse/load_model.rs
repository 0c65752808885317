//! How load arrives in a phase: which of the models the keys ask for, and what contradicts it.

use std::time::Duration;

use crate::model::{Arrivals, LoadModel, PhaseName};
use crate::presets::{BURST_SIZE, Preset, PresetLoad};
use crate::reader::{Field, Section};
use crate::spec;

/// The keys of all models, read.
struct Keys<'r> {
    rate: Option<Field<'r>>,
    start_rate: Option<Field<'r>>,
    ramp: Option<Field<'r>>,
    arrivals: Option<Field<'r>>,
    users: Option<Field<'r>>,
    start_users: Option<Field<'r>>,
    think: Option<Field<'r>>,
    floor: Option<Field<'r>>,
    ceiling: Option<Field<'r>>,
    step: Option<Field<'r>>,
}

pub(super) fn read(section: &Section<'_>, name: PhaseName, preset: &Preset, duration: Duration) -> LoadModel {
    let keys = Keys {
        rate: section.get("rate"),
        start_rate: section.get("start-rate"),
        ramp: section.get("ramp"),
        arrivals: section.get("arrivals"),
        users: section.get("users"),
        start_users: section.get("start-users"),
        think: section.get("think"),
        floor: section.get("floor"),
        ceiling: section.get("ceiling"),
        step: section.get("step"),
    };
    let closed = present([&keys.users, &keys.start_users, &keys.think]);
    let open = present([&keys.rate, &keys.start_rate]);
    let walk = present([&keys.floor, &keys.ceiling, &keys.step]);
    if name == PhaseName::Idle {
        idle(&keys);
        return LoadModel::None;
    }
    if name != PhaseName::Chaos {
        for field in &walk {
            field.misplaced("a random walk belongs to the chaos phase", "use `rate` and `start-rate` here");
        }
    }
    if !closed.is_empty() {
        refuse(
            &open,
            "`users` is the closed model, where answers set the rate",
            "keep `rate` or `users`, not both",
        );
        refuse(&walk, "`users` is the closed model, which has no random walk", "leave it out");
        refuse(
            &present([&keys.arrivals]),
            "in the closed model users arrive when they are free",
            "leave it out",
        );
        return read_closed(section, &keys, duration);
    }
    match preset.load {
        PresetLoad::Walk { floor, ceiling, step } if open.is_empty() => {
            refuse(&present([&keys.ramp]), "a random walk has no ramp", "leave it out, or name a `rate`");
            read_walk(&keys, (floor, ceiling, step))
        }
        _ => {
            if name == PhaseName::Chaos {
                refuse(&walk, "a phase has a `rate` or a random walk", "leave out `rate` or this");
            }
            read_open(&keys, preset, duration)
        }
    }
}

fn present<'k, 'r, const N: usize>(fields: [&'k Option<Field<'r>>; N]) -> Vec<&'k Field<'r>> {
    fields.into_iter().flatten().collect()
}

fn refuse(fields: &[&Field<'_>], message: &str, mend: &str) {
    for field in fields {
        field.misplaced(message, mend);
    }
}

fn idle(keys: &Keys<'_>) {
    let load = present([
        &keys.start_rate,
        &keys.ramp,
        &keys.arrivals,
        &keys.users,
        &keys.start_users,
        &keys.think,
        &keys.floor,
        &keys.ceiling,
        &keys.step,
    ]);
    let mend = "put load into baseline or a later phase";
    refuse(&load, "the idle phase is without load", mend);
    if let Some(field) = &keys.rate
        && field.rate().is_some_and(|rate| rate > 0.0)
    {
        field.problem::<()>("the idle phase is without load", mend);
    }
}

fn read_open(keys: &Keys<'_>, preset: &Preset, duration: Duration) -> LoadModel {
    let (preset_start, preset_rate) = match preset.load {
        PresetLoad::Rate(rate) => (None, rate),
        PresetLoad::Ramp(start, rate) => (Some(start), rate),
        PresetLoad::Walk { ceiling, .. } => (None, ceiling),
        PresetLoad::None => (None, 0.0),
    };
    let rate = keys.rate.as_ref().map_or(Some(preset_rate), some_rate).unwrap_or(preset_rate);
    let start = keys.start_rate.as_ref().and_then(Field::rate);
    let ramp = read_ramp(keys, start.is_some() || preset_start.is_some(), duration);
    let start_rate = if ramp.is_zero() { rate } else { start.or(preset_start).unwrap_or(0.0) };
    if ramp.is_zero()
        && start.is_some_and(|start| start != rate)
        && let Some(field) = &keys.ramp
    {
        field.problem::<()>(
            "a ramp of no length cannot begin at another rate",
            "leave out `ramp` or `start-rate`",
        );
    }
    let ramp = if start_rate == rate { Duration::ZERO } else { ramp };
    LoadModel::Open { start_rate, rate, ramp, arrivals: read_arrivals(keys) }
}

fn some_rate(field: &Field<'_>) -> Option<f64> {
    match field.rate()? {
        0.0 => field.problem(
            "a phase without load is idle",
            "to leave this phase out, name the others in `run-phases`",
        ),
        rate => Some(rate),
    }
}

fn read_walk(keys: &Keys<'_>, (floor, ceiling, step): (f64, f64, Duration)) -> LoadModel {
    let low = keys.floor.as_ref().and_then(Field::rate).unwrap_or(floor);
    let high = keys.ceiling.as_ref().and_then(some_rate).unwrap_or(ceiling);
    if low > high
        && let Some(field) = keys.floor.as_ref().or(keys.ceiling.as_ref())
    {
        field.problem::<()>(
            format!("the floor {low} is above the ceiling {high}"),
            "swap them, or raise the ceiling",
        );
    }
    LoadModel::Walk {
        floor: low,
        ceiling: high,
        step: keys.step.as_ref().and_then(Field::some_duration).unwrap_or(step),
        arrivals: read_arrivals(keys),
    }
}

fn read_closed(section: &Section<'_>, keys: &Keys<'_>, duration: Duration) -> LoadModel {
    let users = match &keys.users {
        Some(field) => field.whole(1..=spec::MOST_USERS),
        None => {
            section.need("users");
            None
        }
    }
    .unwrap_or(1);
    let start = keys.start_users.as_ref().and_then(|field| field.whole(0..=spec::MOST_USERS));
    let ramp = read_ramp(keys, start.is_some(), duration);
    let start_users = if ramp.is_zero() { users } else { start.unwrap_or(1) };
    if ramp.is_zero()
        && start.is_some_and(|start| start != users)
        && let Some(field) = &keys.ramp
    {
        field.problem::<()>(
            "a ramp of no length cannot begin with other users",
            "leave out `ramp` or `start-users`",
        );
    }
    LoadModel::Closed {
        start_users,
        users,
        ramp: if start_users == users { Duration::ZERO } else { ramp },
        think: keys.think.as_ref().and_then(Field::duration).unwrap_or(Duration::ZERO),
    }
}

/// The ramp as written; the whole phase when only its start is; else none.
fn read_ramp(keys: &Keys<'_>, has_start: bool, duration: Duration) -> Duration {
    let Some(field) = &keys.ramp else {
        return if has_start { duration } else { Duration::ZERO };
    };
    match field.duration() {
        Some(ramp) if ramp > duration => {
            let message = "the ramp is longer than its phase";
            field.problem::<()>(message, "shorten it, or lengthen `duration`");
            duration
        }
        Some(ramp) => ramp,
        None => Duration::ZERO,
    }
}

fn read_arrivals(keys: &Keys<'_>) -> Arrivals {
    let Some(field) = &keys.arrivals else { return Arrivals::Even };
    if field.is_table() {
        let size = field.section(spec::BURST).and_then(|section| {
            let size = section.need("burst").and_then(|size| size.whole(1..=spec::MOST_USERS));
            section.finish();
            size
        });
        return Arrivals::Burst { size: size.unwrap_or(BURST_SIZE) };
    }
    match field.word(spec::ARRIVALS) {
        Some(3) => Arrivals::Poisson,
        Some(4) => Arrivals::Burst { size: BURST_SIZE },
        Some(5) => Arrivals::Chaotic,
        _ => Arrivals::Even,
    }
}
