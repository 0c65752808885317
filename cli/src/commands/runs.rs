//! `gauntlet runs`: past runs and their figures.

use std::path::{Path, PathBuf};

use report::figures::{length, micros, percent, rate};
use report::summary::{PhaseSummary, Summary};

use crate::args::RunsCommand;
use crate::failure::Failure;
use crate::knee::result::Knee;
use crate::knee::show;
use crate::run::closing::closing_table;
use crate::{output, run_dir, table};

pub(crate) fn dispatch(command: RunsCommand) -> Result<u8, Failure> {
    match command {
        RunsCommand::List(dir) => list(&dir.report_dir),
        RunsCommand::Show { run, dir } => {
            let path = find(run.as_deref(), &dir.report_dir)?;
            if let Some(knee) = Knee::read(&path)? {
                output::print(&show::ending(&knee));
                output::line(&format!(
                    "directory of the search, with a run for each stage: {}",
                    path.display()
                ));
                return Ok(0);
            }
            output::print(&closing_table(&Summary::new(&run_dir::read(&path)?)));
            output::line(&format!("run directory: {}", path.display()));
            Ok(0)
        }
        RunsCommand::Compare { before, after, dir } => {
            let before = Summary::new(&run_dir::read(&find(Some(&before), &dir.report_dir)?)?);
            let after = Summary::new(&run_dir::read(&find(Some(&after), &dir.report_dir)?)?);
            output::print(&compare(&before, &after));
            Ok(0)
        }
    }
}

fn list(report_dir: &Path) -> Result<u8, Failure> {
    let rows: Vec<Vec<String>> = run_dir::all(report_dir)?.iter().map(|dir| list_row(dir)).collect();
    if rows.is_empty() {
        output::line(&format!("no runs in {}", report_dir.display()));
    } else {
        output::print(&table::render(&["run", "verdict", "exit", "lasted", "phases"], &rows));
    }
    Ok(0)
}

/// A damaged run stands in the list with its problem, for the others are of use.
fn list_row(dir: &Path) -> Vec<String> {
    let name = dir.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    if run_dir::live(dir).is_some() {
        return vec![name, "under way".to_owned()];
    }
    match Knee::read(dir) {
        Ok(Some(knee)) => return [vec![name], show::row_of_list(&knee)].concat(),
        Ok(None) => {}
        Err(failure) => return vec![name, format!("unreadable: {failure}")],
    }
    match run_dir::read(dir).map(|data| Summary::new(&data)) {
        Ok(summary) => vec![
            name,
            summary.verdict.unwrap_or_else(|| "not ended".to_owned()),
            summary.exit_code.map_or_else(|| "–".to_owned(), |code| code.to_string()),
            length(summary.lasted_ms),
            summary.phases.len().to_string(),
        ],
        Err(failure) => vec![name, format!("unreadable: {failure}")],
    }
}

/// A run by directory, name or the beginning of its name; the newest when none is named.
fn find(run: Option<&str>, report_dir: &Path) -> Result<PathBuf, Failure> {
    if let Some(path) = run.map(Path::new).filter(|path| path.join("plan.toml").is_file()) {
        return Ok(path.to_owned());
    }
    let all = run_dir::all(report_dir)?;
    let name =
        |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let Some(run) = run else {
        return all
            .first()
            .cloned()
            .ok_or_else(|| Failure::input(format!("there is no run in {}", report_dir.display())));
    };
    if let Some(exact) = all.iter().find(|path| name(path) == run) {
        return Ok(exact.clone());
    }
    let matching: Vec<&PathBuf> = all.iter().filter(|path| name(path).starts_with(run)).collect();
    match matching.as_slice() {
        [only] => Ok((*only).clone()),
        [] => Err(Failure::input(format!(
            "there is no run {run:?} in {}; `gauntlet runs list` shows them",
            report_dir.display()
        ))),
        several => Err(Failure::input(format!(
            "{run:?} is the beginning of {} runs: {}; name one of them",
            several.len(),
            several.iter().map(|path| name(path)).collect::<Vec<_>>().join(", ")
        ))),
    }
}

/// Phase by phase: before, after and the change.
fn compare(before: &Summary, after: &Summary) -> String {
    let verdict = |summary: &Summary| summary.verdict.clone().unwrap_or_else(|| "not ended".to_owned());
    let mut rows = vec![vec!["verdict".to_owned(), verdict(before), verdict(after)]];
    for new in &after.phases {
        let Some(old) = before.phases.iter().find(|old| old.name == new.name) else { continue };
        rows.extend(compare_phase(old, new));
    }
    let only = |a: &Summary, b: &Summary| -> Vec<String> {
        let missing = |phase: &&PhaseSummary| b.phases.iter().all(|other| other.name != phase.name);
        a.phases.iter().filter(missing).map(|phase| phase.name.clone()).collect()
    };
    let mut text = table::render(&["", "before", "after", "change"], &rows);
    for (which, phases) in [("before", only(before, after)), ("after", only(after, before))] {
        if !phases.is_empty() {
            text.push_str(&format!("only in the run {which}: {}\n", phases.join(", ")));
        }
    }
    if (before.time_scale, before.load_scale, before.seed) != (after.time_scale, after.load_scale, after.seed)
    {
        text.push_str("note: the runs differ in seed, time-scale or load-scale\n");
    }
    text
}

/// Writes a figure for people.
type Shown = fn(f64) -> String;

/// What is compared, in the order of `compare_phase`.
const FIGURES: [(&str, Shown); 7] = [
    ("wanted/s", rate),
    ("achieved/s", rate),
    ("goodput/s", rate),
    ("p50", micros),
    ("p95", micros),
    ("p99", micros),
    ("errors", percent),
];

fn compare_phase(old: &PhaseSummary, new: &PhaseSummary) -> Vec<Vec<String>> {
    let of = |phase: &PhaseSummary| {
        let latency = &phase.latency;
        let rates = [Some(phase.wanted_rate), Some(phase.achieved_rate), Some(phase.goodput)];
        [rates, [latency.p50, latency.p95, latency.p99]].concat().into_iter().chain([Some(phase.error_share)])
    };
    FIGURES
        .iter()
        .zip(of(old).zip(of(new)))
        .map(|((name, shown), (old_value, new_value))| {
            let show = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), shown);
            vec![
                format!("{} {name}", new.name),
                show(old_value),
                show(new_value),
                change(old_value, new_value),
            ]
        })
        .collect()
}

/// `+12.5 %`, when it can be said.
fn change(old: Option<f64>, new: Option<f64>) -> String {
    match (old, new) {
        (Some(old), Some(new)) if old > 0.0 => format!("{:+.1} %", (new / old - 1.0) * 100.0),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_relative() {
        assert_eq!(change(Some(200.0), Some(250.0)), "+25.0 %");
        assert_eq!(change(Some(200.0), Some(100.0)), "-50.0 %");
        assert_eq!(change(Some(0.0), Some(1.0)), "");
        assert_eq!(change(None, Some(1.0)), "");
    }

    #[test]
    fn a_run_is_found_by_the_beginning_of_its_name() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["20260101-000000-a", "20260102-000000-b"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("plan.toml"), "").unwrap();
        }
        let found =
            |run| find(run, dir.path()).map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
        assert_eq!(found(Some("20260101")).unwrap(), "20260101-000000-a");
        assert_eq!(found(None).unwrap(), "20260102-000000-b", "the newest");
        assert!(found(Some("2026")).unwrap_err().to_string().contains("2 runs"));
        assert!(found(Some("x")).unwrap_err().to_string().contains("no run"));
    }
}
