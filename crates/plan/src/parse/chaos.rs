//! `[[chaos]]`: faults, each by itself. Whether they fit their phases and each other is [`crate::chaos`]'s to say.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::{check_name, percent, recipe, thresholds};
use crate::model::{Fault, Http, Mode, PhaseName, Plan, RecipeKind, Stop, Target};
use crate::problem::Problems;
use crate::reader::{Field, Reader, Section};
use crate::spec;
use crate::tree::{Content, Source};
use crate::units::print_duration;

/// The window of a stop condition that names none.
pub(super) const STOP_OVER: Duration = Duration::from_secs(5);

/// Where faults stand in the text, by name.
pub(super) type Places<'r> = BTreeMap<String, Field<'r>>;

/// A fault without its name, and that if it has one.
type Unnamed<'r> = (Fault, Option<Field<'r>>);

/// Reads all faults, so that each mistake is found. Of those that are wrong there is none in the list.
pub(super) fn faults<'r>(root: &Section<'r>, targets: &[Target]) -> (Vec<Fault>, Places<'r>) {
    let fields = root.get("chaos").map(|field| field.list("faults: [[chaos]] tables")).unwrap_or_default();
    let mut read: Vec<(Field<'r>, Unnamed<'r>)> = Vec::new();
    for field in fields {
        let Some(section) = field.section(spec::FAULT) else { continue };
        let fault = fault(&section, targets, When::Planned);
        section.finish();
        read.extend(fault.map(|fault| (field, fault)));
    }
    // Names that the plan gives come first, whatever their place, so that none given by us takes them.
    let mut places = Places::new();
    read.retain(|(field, (fault, given))| {
        let Some(given) = given else { return true };
        if places.contains_key(&fault.name) {
            given.problem::<()>(
                format!("a second fault of the name {:?}", fault.name),
                "give it a name of its own, or leave `name` out",
            );
            return false;
        }
        places.insert(fault.name.clone(), field.clone());
        true
    });
    let mut faults = Vec::new();
    for (field, (mut fault, given)) in read {
        if given.is_none() {
            fault.name = free_name(&fault.name, |name| places.contains_key(name));
            places.insert(fault.name.clone(), field);
        }
        faults.push(fault);
    }
    (faults, places)
}

/// What a target speaks that the fault proxy does not read.
fn unreadable(target: &Target) -> Option<&'static str> {
    if target.urls.iter().any(|url| url.starts_with("https://")) {
        return Some("TLS");
    }
    (target.http != Http::default()).then_some("HTTP/2")
}

/// The name, or the first of it with -2, -3, … that nobody has.
fn free_name(name: &str, taken: impl Fn(&str) -> bool) -> String {
    let numbered = |number: u32| if number == 1 { name.to_owned() } else { format!("{name}-{number}") };
    (1..).map(numbered).find(|name| !taken(name)).unwrap_or_default()
}

/// Notes faults that do not fit their phases or each other.
pub(super) fn check_schedule(plan: &Plan, places: &Places<'_>) {
    for misfit in crate::chaos::place(plan).err().unwrap_or_default() {
        let field = plan.chaos.get(misfit.fault).and_then(|fault| places.get(&fault.name));
        if let Some(field) = field {
            field.at(misfit.key).problem::<()>(misfit.message, misfit.mend);
        }
    }
}

/// Reads one fault that comes now, in `phase` of this plan: a table as `[[chaos]]` has it, without `phase`, `at` and
/// `times`. Its name, where it has none, is of its own among the plan's.
///
/// # Errors
/// All problems at once, as [`crate::parse`]; also a phase that does not run.
pub fn parse_fault(text: &str, plan: &Plan, phase: PhaseName) -> Result<Fault, Problems> {
    let source = Source::new(Path::new("fault"), text);
    let tree = source.parse().map_err(|problem| Problems(vec![*problem]))?;
    let reader = Reader::new(&source);
    let section = Section::root(&reader, &tree, spec::FAULT);
    let read = fault(&section, &plan.targets, When::Now(phase));
    section.finish();
    let mut found = read.map(|(fault, given)| {
        let taken = |name: &str| plan.chaos.iter().any(|fault| fault.name == name);
        let mut fault = fault;
        match given {
            Some(given) if taken(&fault.name) => {
                given.problem::<()>(
                    format!("the plan has a fault of the name {:?}", fault.name),
                    "give it another name, or leave `name` out",
                );
            }
            Some(_) => {}
            None => fault.name = free_name(&fault.name, taken),
        }
        fault
    });
    let runs = plan.scaled().into_iter().find(|scaled| scaled.name == phase);
    match (&runs, &found) {
        (None, _) => {
            let message = format!("the phase {} does not run", phase.name());
            reader.report(0..0, "", message, "wait for a phase of the plan".to_owned());
        }
        (Some(runs), Some(fault)) if fault.duration > runs.duration => {
            let (long, whole) = (print_duration(fault.duration), print_duration(runs.duration));
            let message =
                format!("the fault is longer than its phase: {long} in {}, which runs {whole}", phase.name());
            let place = tree.child("duration").map_or(0..0, |node| node.span.clone());
            reader.report(place, "duration", message, "shorten it".to_owned());
            found = None;
        }
        _ => {}
    }
    reader.finish()?;
    found.ok_or_else(|| Problems(vec![source.problem(0..0, "", "found no fault".to_owned(), String::new())]))
}

/// When a fault comes.
#[derive(Clone, Copy)]
enum When {
    Planned,
    /// At once, in this phase.
    Now(PhaseName),
}

fn fault<'r>(section: &Section<'r>, targets: &[Target], when: When) -> Option<Unnamed<'r>> {
    let recipe = recipe::read(section);
    let target = section.need("target").and_then(|field| {
        let name = thresholds::known(
            &field,
            field.text()?,
            "target",
            targets.iter().map(|target| target.name.as_str()),
        )?;
        Some((targets.iter().find(|target| target.name == name)?, field))
    });
    let duration = section.need("duration").and_then(|field| field.some_duration());
    let stop = stop(section);
    let name = section.get("name").and_then(|field| {
        let name = field.text()?;
        check_name(&field, &name);
        if name.contains('#') {
            field.misplaced("found # in the name of a fault, where its number comes", "leave it out");
        }
        Some((name, field))
    });
    let written_mode = section.get("mode");
    let mode = written_mode.as_ref().map_or(Some(Mode::One), mode);
    let time = time(section, when);
    let allowed = target.as_ref().is_none_or(|(target, field)| opted_in(target, field));
    let (recipe, toxicity) = recipe?;
    if !recipe.has_victims()
        && let Some(field) = &written_mode
    {
        field.misplaced(
            format!("the recipe {} hits the host and chooses no instances", recipe.name()),
            "leave it out",
        );
    }
    if recipe.kind() == RecipeKind::Process
        && let Some((target, field)) = &target
        && target.platform.is_none()
    {
        field.problem::<()>(
            format!(
                "the recipe {} is done to processes, and {} has no `platform`",
                recipe.name(),
                target.name
            ),
            format!("add `platform` to [targets.{}], or choose a network fault", target.name),
        );
    }
    if recipe.kind() == RecipeKind::Network
        && let Some((target, field)) = &target
        && let Some(why) = target.off_port()
    {
        field.problem::<()>(
            format!("the recipe {} is done on the way to a port, and {} {why}", recipe.name(), target.name),
            "choose a recipe that is done to processes, or let load reach a port of the target",
        );
    }
    if recipe.reads_http()
        && let Some((target, field)) = &target
        && let Some(spoken) = unreadable(target)
    {
        field.problem::<()>(
            format!(
                "the recipe {} is done to HTTP/1.1 in the clear, and {} speaks {spoken}",
                recipe.name(),
                target.name
            ),
            "choose latency, reset or another recipe that is done to connections",
        );
    }
    let (target, target_field) = target?;
    let within = mode.is_none_or(|mode| {
        let field = written_mode.as_ref().unwrap_or(&target_field);
        !recipe.takes_away() || within_most(mode, target, field)
    });
    let (phase, at, times) = time?;
    let (name, given) =
        name.map_or_else(|| (recipe.name().to_owned(), None), |(name, field)| (name, Some(field)));
    let target = target.name.clone();
    let fault = Fault {
        name,
        toxicity,
        target,
        phase,
        mode: mode?,
        duration: duration?,
        stop: stop?,
        at,
        times,
        recipe,
    };
    (allowed && within).then_some((fault, given))
}

fn opted_in(target: &Target, field: &Field<'_>) -> bool {
    if target.chaos.is_none() {
        field.problem::<()>(
            format!("the target {} does not allow faults", target.name),
            format!("add `chaos = true` to [targets.{}] if they may hit it", target.name),
        );
    }
    target.chaos.is_some()
}

/// Whether the target allows that so many instances are taken away.
fn within_most(mode: Mode, target: &Target, field: &Field<'_>) -> bool {
    let instances = target.urls.len();
    let hit = mode.of(instances);
    let most = target.chaos.map_or(instances, |most| most.of(instances));
    if hit > most {
        field.problem::<()>(
            format!(
                "{hit} of {instances} instances of {} would be taken away at once, its `chaos` allows at most {most}",
                target.name
            ),
            "lower the mode, or raise `most` of the target",
        );
    }
    hit <= most
}

/// Phase, `at` and `times`.
fn time(section: &Section<'_>, when: When) -> Option<(PhaseName, Option<Duration>, u32)> {
    let (phase, at, times) = (section.get("phase"), section.get("at"), section.get("times"));
    if let When::Now(now) = when {
        for field in [phase, at, times].into_iter().flatten() {
            field.misplaced("a fault by hand comes once and at once", "leave it out");
        }
        return Some((now, None, 1));
    }
    let phase = match phase {
        Some(field) => field.word(spec::PHASES).and_then(|index| PhaseName::ALL.get(index).copied()),
        None => Some(PhaseName::Chaos),
    };
    let times_read = times.as_ref().map_or(Some(1), |field| field.whole(1..=spec::MOST_TIMES));
    if let (Some(_), Some(field), Some(2..)) = (&at, &times, times_read) {
        field.misplaced("`at` is one time, `times` are several", "leave out one of them, or write it twice");
        return None;
    }
    let at = match at {
        Some(field) => Some(field.duration()?),
        None => None,
    };
    Some((phase?, at, times_read?))
}

/// `"one"`, `"all"`, `"50%"`, `{ fixed = 2 }`, `{ percent = 50 }`.
fn mode(field: &Field<'_>) -> Option<Mode> {
    if field.is_table() {
        let section = field.section(spec::MODE)?;
        let (fixed, of_hundred) = (section.get("fixed"), section.get("percent"));
        section.finish();
        let none = "a fault that hits no instance is no fault";
        return match (fixed, of_hundred) {
            (Some(fixed), None) if is_zero(&fixed) => fixed.wrong("an integer over 0", none),
            (Some(fixed), None) => fixed.whole(1..=spec::MANY).map(Mode::Fixed),
            (None, Some(percent)) if is_zero(&percent) => percent.wrong("an integer from 1 to 100", none),
            (None, Some(percent)) => percent.whole(1..=100).map(Mode::Percent),
            _ => field.problem("expected exactly one of `fixed` and `percent`", "such as { fixed = 2 }"),
        };
    }
    match &field.node.content {
        Content::Text(text) if text == "one" => Some(Mode::One),
        Content::Text(text) if text == "all" => Some(Mode::All),
        Content::Text(text) if text.contains('%') => percent(field).map(Mode::Percent),
        _ => field.wrong("\"one\", \"all\", { fixed = 2 }, { percent = 50 } or \"50%\"", ""),
    }
}

const fn is_zero(field: &Field<'_>) -> bool {
    matches!(field.node.content, Content::Integer(0))
}

/// `stop` and `stop-over`.
fn stop(section: &Section<'_>) -> Option<Stop> {
    let over = section.get("stop-over");
    let stop = section.need("stop");
    let window = over.as_ref().map_or(Some(STOP_OVER), Field::some_duration);
    let stop = stop?;
    if matches!(&stop.node.content, Content::Text(text) if text == "none") {
        if let Some(over) = over {
            over.misplaced("there is no stop condition whose window this is", "leave it out");
        }
        return Some(Stop::None);
    }
    let check = thresholds::check(&stop);
    Some(Stop::When { check: check?, over: window? })
}
