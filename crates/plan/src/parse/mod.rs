//! From text to plan: every default filled in, every problem noted.

mod balancing;
mod chaos;
mod load_model;
mod phases;
mod recipe;
mod recovery;
mod scenarios;
mod settings;
mod targets;
mod thresholds;

use std::path::Path;

pub use self::chaos::parse_fault;
use crate::model::{PhaseName, Plan, Tier};
use crate::overrides::Overrides;
use crate::problem::{Problem, Problems};
use crate::reader::{Field, Reader, Section};
use crate::spec;
use crate::tree::{Content, Entry, Node, Source};

/// Reads a plan. `origin` is the file that errors name; its stem is the plan's name when it gives none.
///
/// # Errors
/// All problems at once, in the order of the text; malformed TOML alone, for nothing can be said beyond it.
pub fn parse(text: &str, origin: &Path) -> Result<Plan, Problems> {
    parse_with(text, origin, &Overrides::default())
}

/// Reads a plan and applies what the command line says instead.
///
/// # Errors
/// As [`parse`]; a problem with an override names its flag.
pub fn parse_with(text: &str, origin: &Path, overrides: &Overrides) -> Result<Plan, Problems> {
    let source = Source::new(origin, text);
    let tree = source.parse().map_err(|problem| Problems(vec![*problem]))?;
    let reader = Reader::new(&source);
    let (mut plan, places) = read(&reader, &tree, origin, overrides);
    overrides.apply(&mut plan, &reader);
    // Only now: the command line may have changed how long phases are and which faults are left.
    chaos::check_schedule(&plan, &places);
    reader.finish()?;
    Ok(plan)
}

/// Reads the plan in `path` and applies the overrides.
///
/// # Errors
/// As [`parse_with`]; also when the file cannot be read.
pub fn load(path: &Path, overrides: &Overrides) -> Result<Plan, Problems> {
    let text = std::fs::read(path).map_err(|error| {
        let mend = match error.kind() {
            std::io::ErrorKind::NotFound => "check the path, or write a first plan with `gauntlet plan init`",
            std::io::ErrorKind::PermissionDenied => "give yourself the right to read it",
            _ => "name a file with a plan in TOML",
        };
        Problems(vec![Problem::elsewhere(path, "", format!("cannot be read: {error}"), mend)])
    })?;
    let text = String::from_utf8(text).map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        let lead = String::from_utf8_lossy(&error.as_bytes()[..place]).into_owned();
        let message = "found bytes that are not UTF-8, expected a plan in TOML".to_owned();
        let mend = "save the file as UTF-8".to_owned();
        Problems(vec![Source::new(path, &lead).problem(place..place, "", message, mend)])
    })?;
    parse_with(&text, path, overrides)
}

fn read<'r>(
    reader: &'r Reader<'r>,
    tree: &'r Node,
    origin: &Path,
    overrides: &Overrides,
) -> (Plan, chaos::Places<'r>) {
    let root = Section::root(reader, tree, spec::ROOT);
    let name = root.get("name").and_then(|field| field.text()).unwrap_or_else(|| {
        origin.file_stem().map_or_else(|| "plan".to_owned(), |stem| stem.to_string_lossy().into_owned())
    });
    let seed = root.get("seed").and_then(|field| field.integer(0..=i64::MAX)).map_or(1, i64::unsigned_abs);
    let scale = |key| root.get(key).and_then(|field| field.number_over(0.0, 1000.0)).unwrap_or(1.0);
    let (time_scale, load_scale) = (scale("time-scale"), scale("load-scale"));
    let tier = root
        .get("tier")
        .and_then(|field| field.word(spec::TIERS))
        .and_then(|index| [Tier::Base, Tier::Stress, Tier::Chaos, Tier::Ultimate].get(index).copied());
    let run_phases: Option<Vec<PhaseName>> = root.get("run-phases").map(|field| phase_names(&field));
    let processes = targets::processes(&root);
    let targets = targets::targets(&root, &processes);
    let scenarios = scenarios::scenarios(&root, &targets);
    let names = thresholds::Names { scenarios: &scenarios, targets: &targets };
    let mut lists = thresholds::lists(&root, &names);
    let run_phases = overrides.phases.clone().or(run_phases);
    let phases = phases::phases(&root, tier, run_phases.as_deref(), &names, &mut lists);
    let (chaos, places) = chaos::faults(&root, &targets);
    let plan = Plan {
        name,
        seed,
        time_scale,
        load_scale,
        tier,
        phases,
        thresholds: lists.remove("run").unwrap_or_default(),
        chaos,
        recovery: recovery::recoveries(&root, &targets, &processes),
        budgets: recovery::budgets(&root),
        load: settings::load(&root),
        validity: settings::validity(&root),
        control: settings::control(&root),
        report: settings::report(&root),
        processes,
        targets,
        scenarios,
    };
    root.finish();
    (plan, places)
}

fn phase_names(field: &Field<'_>) -> Vec<PhaseName> {
    let items = field.list("phase names");
    if items.is_empty() && matches!(field.node.content, Content::List(_)) {
        field.wrong::<()>("at least one phase", "leave the key out to run all of them");
    }
    items
        .iter()
        .filter_map(|item| item.word(spec::PHASES))
        .filter_map(|index| PhaseName::ALL.get(index).copied())
        .collect()
}

/// A name that people, files and metrics can carry.
fn check_name(field: &Field<'_>, name: &str) {
    if name.is_empty() || name.chars().count() > 64 || name.chars().any(|c| c.is_control() || c == '/') {
        field.misplaced(
            format!(
                "found the name {name:?}, expected 1 to 64 characters without slashes and control characters"
            ),
            "choose another name",
        );
    }
}

/// `"50%"`: a whole number of a hundred, from 1.
fn percent(field: &Field<'_>) -> Option<u32> {
    let Content::Text(text) = &field.node.content else {
        return field.wrong("a percentage such as \"50%\"", "put it in quotes");
    };
    let number = text.trim().strip_suffix('%').and_then(|number| number.trim_end().parse::<u32>().ok());
    number
        .filter(|percent| (1..=100).contains(percent))
        .or_else(|| field.wrong("a percentage from \"1%\" to \"100%\", without fractions", ""))
}

/// A value of the guest's own configuration as JSON.
fn json(reader: &Reader<'_>, node: &Node, path: &str) -> serde_json::Value {
    use serde_json::Value;
    match &node.content {
        Content::Text(text) | Content::Datetime(text) => Value::String(text.clone()),
        Content::Integer(value) => Value::from(*value),
        Content::Float(value) => serde_json::Number::from_f64(*value).map_or_else(
            || {
                let message = format!("found {value}, expected a finite number");
                reader.report(
                    node.span.clone(),
                    path,
                    message,
                    "JSON, which guests read, has no other".to_owned(),
                );
                Value::Null
            },
            Value::Number,
        ),
        Content::Bool(value) => Value::Bool(*value),
        Content::List(items) => {
            let read = |(i, item): (usize, &Node)| json(reader, item, &format!("{path}[{i}]"));
            Value::Array(items.iter().enumerate().map(read).collect())
        }
        Content::Table(entries) => {
            let read = |e: &Entry| (e.key.clone(), json(reader, &e.node, &format!("{path}.{}", e.key)));
            Value::Object(entries.iter().map(read).collect())
        }
    }
}
