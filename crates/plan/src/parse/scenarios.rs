//! `[[scenarios]]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{check_name, json};
use crate::model::{GuestRef, Scenario, Target};
use crate::reader::{Field, Section};
use crate::spec;
use crate::units;

pub(super) fn scenarios(root: &Section<'_>, targets: &[Target]) -> Vec<Scenario> {
    let Some(field) = root.need("scenarios") else { return Vec::new() };
    let items = field.list("tables: write [[scenarios]]");
    let mut found: Vec<Scenario> = Vec::new();
    for item in items {
        let Some(section) = item.section(spec::SCENARIO) else { continue };
        if let Some(scenario) = scenario(&section, targets) {
            if found.iter().any(|other| other.name == scenario.name) {
                item.misplaced(
                    format!("a second scenario has the name {:?}", scenario.name),
                    "give one of them another `name`",
                );
            }
            found.push(scenario);
        }
        section.finish();
    }
    found
}

fn scenario(section: &Section<'_>, targets: &[Target]) -> Option<Scenario> {
    let guest_field = section.need("guest");
    let guest = guest_field.as_ref().and_then(guest);
    let name_field = section.get("name");
    let name = name_field.as_ref().and_then(Field::text).or_else(|| guest.as_ref().map(default_name));
    if let (Some(field), Some(name)) = (name_field.or(guest_field), &name) {
        check_name(&field, name);
    }
    let target_names = match section.get("target") {
        Some(field) => {
            field.texts().into_iter().filter_map(|(field, name)| target_name(&field, name, targets)).collect()
        }
        None => match targets {
            [only] => vec![only.name.clone()],
            [] => Vec::new(),
            _ => {
                section.need("target");
                Vec::new()
            }
        },
    };
    let config = section.get("config").map_or_else(
        || serde_json::Value::Object(serde_json::Map::new()),
        |field| {
            if !field.is_table() {
                field.wrong::<()>("a table", "write config.KEY = VALUE");
            }
            json(field.reader, field.node, &field.path)
        },
    );
    let weight = section.get("weight").and_then(|field| field.number_over(0.0, 1e9)).unwrap_or(1.0);
    let timeout =
        section.get("timeout").and_then(|field| field.some_duration()).unwrap_or(Duration::from_secs(30));
    let response_timeout = section.get("response-timeout").and_then(|field| field.some_duration());
    let trial = section.get("trial").and_then(|field| field.boolean()).unwrap_or(true);
    Some(Scenario {
        name: name?,
        guest: guest?,
        targets: target_names,
        weight,
        config,
        timeout,
        response_timeout,
        trial,
    })
}

fn target_name(field: &Field<'_>, name: String, targets: &[Target]) -> Option<String> {
    if targets.iter().any(|target| target.name == name) {
        return Some(name);
    }
    let known: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
    let mend = units::nearest(&name, known.iter().copied()).map_or_else(
        || format!("targets of the plan: {}", known.join(", ")),
        |near| format!("did you mean {near:?}?"),
    );
    field.problem(format!("there is no target {name:?} in the plan"), mend)
}

fn guest(field: &Field<'_>) -> Option<GuestRef> {
    let text = field.text()?;
    if text.starts_with("sha256:") {
        return digest(field, &text).map(GuestRef::Digest);
    }
    let (path, wanted) = match text.split_once('#') {
        Some((path, wanted)) => (path, Some(wanted)),
        None => (text.as_str(), None),
    };
    let is_file = Path::new(path).extension().is_some_and(|extension| extension == "wasm");
    if is_file || path.contains('/') {
        let digest = match wanted {
            Some(wanted) => Some(digest(field, wanted)?),
            None => None,
        };
        return Some(GuestRef::Path { path: PathBuf::from(path), digest });
    }
    let (name, version) = match text.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (text.as_str(), None),
    };
    let word = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c))
    };
    if !word(name) || version.is_some_and(|version| !word(version)) {
        return field.wrong(
            "a guest's name such as \"http\" or \"http@0.1.0\", a sha256: digest, or the path of a .wasm file",
            "write a file of this directory as \"./NAME.wasm\"",
        );
    }
    Some(GuestRef::Name { name: name.to_owned(), version: version.map(str::to_owned) })
}

fn digest(field: &Field<'_>, text: &str) -> Option<String> {
    let hex = text.strip_prefix("sha256:").unwrap_or_default();
    if hex.len() == 64 && hex.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c)) {
        return Some(text.to_owned());
    }
    field.wrong(
        "sha256: and 64 lower-case hexadecimal digits",
        format!("found {} characters after the colon; `sha256sum FILE` prints them", hex.chars().count()),
    )
}

/// The guest's own name, as far as the plan tells it.
fn default_name(guest: &GuestRef) -> String {
    match guest {
        GuestRef::Name { name, .. } => name.clone(),
        GuestRef::Digest(digest) => digest.chars().skip("sha256:".len()).take(12).collect(),
        GuestRef::Path { path, .. } => {
            path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
        }
    }
}
