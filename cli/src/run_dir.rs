//! Run directories: made by `run`, read by everything that looks at a run afterwards.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use plan::Plan;
use prost::Message as _;
use protocol::event::{Entry, Event};
use protocol::v1;
use report::RunData;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::knee::result as knee;

/// The merged series of all phases, so that a report can be made anew from the directory alone.
const SERIES: &str = "series.pb";
const HISTORY: &str = "history.ndjson";
const PLAN: &str = "plan.toml";
const API: &str = "api.json";

/// What `api.json` says while a run is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Api {
    /// Base URL of the HTTP API.
    pub(crate) url: String,
    /// The run's id.
    pub(crate) run: String,
    /// Our process.
    pub(crate) pid: u32,
}

/// The directory of a run that is under way.
#[derive(Debug)]
pub(crate) struct RunDir {
    path: PathBuf,
    history: File,
}

impl RunDir {
    /// Makes `<report_dir>/<yyyymmdd-hhmmss>-<name>/` with the plan as run and an empty history.
    ///
    /// # Errors
    /// When the directory cannot be made or written.
    pub(crate) fn create(report_dir: &Path, plan: &Plan) -> Result<Self, Failure> {
        let path = create(report_dir, plan)?;
        let file = |name: &str| path.join(name);
        let history = OpenOptions::new()
            .create(true)
            .append(true)
            .open(file(HISTORY))
            .map_err(|error| unwritable(&file(HISTORY), &error))?;
        Ok(Self { path, history })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends an entry to the history, so that it is there even if we are killed.
    ///
    /// # Errors
    /// When the disk is full or gone.
    pub(crate) fn append(&mut self, entry: &Entry) -> Result<(), Failure> {
        let mut line = serde_json::to_string(entry).map_err(|error| Failure::bug(error.to_string()))?;
        line.push('\n');
        self.history.write_all(line.as_bytes()).map_err(|error| unwritable(&self.path.join(HISTORY), &error))
    }

    /// Whether anything of the run was recorded.
    pub(crate) fn began(&self) -> bool {
        self.history.metadata().is_ok_and(|file| file.len() > 0)
    }

    /// Keeps the series.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(crate) fn keep(&self, series: &v1::RunSeries) -> Result<(), Failure> {
        write_whole(&self.path.join(SERIES), &series.encode_to_vec())
    }
}

/// Removes the directory of something that never began.
pub(crate) fn remove(dir: &Path) {
    if let Err(error) = fs::remove_dir_all(dir) {
        tracing::warn!(path = %dir.display(), %error, "the directory of a run that never began stays");
    }
}

/// Makes `<report_dir>/<yyyymmdd-hhmmss>-<name>/` with the plan in it.
///
/// # Errors
/// When it cannot be made or written.
pub(crate) fn create(report_dir: &Path, plan: &Plan) -> Result<PathBuf, Failure> {
    let stamp = jiff::ZonedDateTime::now().strftime("%Y%m%d-%H%M%S").to_string();
    let name = format!("{stamp}-{}", slug(&plan.name));
    fs::create_dir_all(report_dir).map_err(|error| unwritable(report_dir, &error))?;
    let path = free_directory(report_dir, &name)?;
    write_whole(&path.join(PLAN), plan.to_toml().as_bytes())?;
    Ok(path)
}

/// Says in a directory where the API of the run is that is under way there.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn announce(dir: &Path, api: &Api) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(api).map_err(|error| Failure::bug(error.to_string()))?;
    write_whole(&dir.join(API), format!("{text}\n").as_bytes())
}

/// The API is gone.
pub(crate) fn withdraw(dir: &Path) {
    // It may never have been there.
    let _ = fs::remove_file(dir.join(API));
}

/// The directory, or `-2`, `-3`, … behind its name when another run began in the same second.
fn free_directory(report_dir: &Path, name: &str) -> Result<PathBuf, Failure> {
    for number in 1..=1000_u32 {
        let path = report_dir.join(if number == 1 { name.to_owned() } else { format!("{name}-{number}") });
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(unwritable(&path, &error)),
        }
    }
    Err(Failure::environment(format!("{}: too many runs of one name in one second", report_dir.display())))
}

/// Written beside its place and renamed: whoever reads it finds all of it or nothing.
///
/// # Errors
/// When the disk is full or gone.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let part = path.with_extension("part");
    fs::write(&part, bytes).and_then(|()| fs::rename(&part, path)).map_err(|error| {
        let _ = fs::remove_file(&part);
        unwritable(path, &error)
    })
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::environment(format!(
        "cannot write {}: {error}; free space there, or choose a directory that you may write with --report-dir",
        path.display()
    ))
}

/// A name that is fit for a directory.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars().flat_map(char::to_lowercase) {
        if c.is_alphanumeric() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug: String = slug.trim_end_matches('-').chars().take(40).collect();
    if slug.is_empty() { "run".to_owned() } else { slug }
}

/// Reads what a report is made from.
///
/// # Errors
/// When a file is missing or damaged.
pub(crate) fn read(dir: &Path) -> Result<RunData, Failure> {
    let plan_file = dir.join(PLAN);
    if !plan_file.is_file() {
        return Err(Failure::input(format!(
            "{} is not a run directory: it has no {PLAN}; `gauntlet runs list` shows where they are",
            dir.display()
        )));
    }
    if dir.join(knee::FILE).is_file() {
        return Err(Failure::input(format!(
            "{} is the directory of a search and no run; each stage of it is one: name a directory in it",
            dir.display()
        )));
    }
    let plan = plan::load(&plan_file, &plan::Overrides::default())?;
    let history = history(&dir.join(HISTORY))?;
    let run = history.iter().find_map(|entry| match &entry.event {
        Event::RunCreated { run, .. } => Some(run.clone()),
        _ => None,
    });
    let Some(run) = run else {
        return Err(Failure::input(format!(
            "the run in {} never began: its history is empty",
            dir.display()
        )));
    };
    let series = match fs::read(dir.join(SERIES)) {
        Ok(bytes) => v1::RunSeries::decode(bytes.as_slice()).map_err(|error| {
            Failure::input(format!("{}: {error}; the file is damaged", dir.join(SERIES).display()))
        })?,
        // A run that was killed has its history, but no figures.
        Err(error) if error.kind() == io::ErrorKind::NotFound => v1::RunSeries::default(),
        Err(error) => return Err(Failure::environment(format!("{}: {error}", dir.join(SERIES).display()))),
    };
    Ok(RunData { run, plan, history, series })
}

fn history(path: &Path) -> Result<Vec<Entry>, Failure> {
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::input(format!("cannot read {}: {error}", path.display())))?;
    let mut entries = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        match serde_json::from_str(line) {
            Ok(entry) => entries.push(entry),
            // The last line of a run that was killed may be cut.
            Err(_) if lines.peek().is_none() => break,
            Err(error) => {
                return Err(Failure::input(format!("{}:{}: {error}", path.display(), index + 1)));
            }
        }
    }
    Ok(entries)
}

/// What says where the API of the run in `dir` is, if it is under way.
pub(crate) fn live(dir: &Path) -> Option<Api> {
    let api: Api = serde_json::from_slice(&fs::read(dir.join(API)).ok()?).ok()?;
    // A run that was killed leaves the file behind.
    Path::new("/proc").join(api.pid.to_string()).exists().then_some(api)
}

/// The run directories in `report_dir`, newest first.
///
/// # Errors
/// When the directory cannot be read.
pub(crate) fn all(report_dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = fs::read_dir(report_dir).map_err(|error| {
        Failure::input(format!(
            "cannot list {}: {error}; name the directory of your runs with --report-dir",
            report_dir.display()
        ))
    })?;
    let mut found: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.join(PLAN).is_file()).collect();
    found.sort_by(|a, b| b.file_name().cmp(&a.file_name()));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_fit_for_a_directory() {
        assert_eq!(slug("Shop under stress!"), "shop-under-stress");
        assert_eq!(slug("../../etc"), "etc");
        assert_eq!(slug("***"), "run");
        assert_eq!(slug("größe 1"), "größe-1");
        assert_eq!(slug(&"x".repeat(99)).len(), 40);
    }
}
