//! Undoing a fault by what the journal says of it, and looking at the system until it is seen to be undone.
//!
//! Done by the agent when a fault ends, by its guardian when the agent dies, and by the next agent for what both left: all that
//! is known is in the entry, and doing it twice does no harm.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use platform::identity::Signal;

use crate::inject::{clock, limits, pause};
use crate::journal::{Done, Entry, Journal, Record, Undo};
use crate::ours;
use crate::state_dir::StateDir;
use crate::wait;
use crate::wire::How;

/// How long the kernel may take to end a hog; gigabytes of memory are not freed at once.
const TAKES: Duration = Duration::from_secs(10);

/// Undoes the fault and notes that in the journal.
///
/// # Errors
/// What is still in effect, or cannot be shown to be gone, and how to mend it by hand.
pub(crate) fn undo_and_note(
    dir: &StateDir,
    journal: &mut Journal,
    entry: &Entry,
    how: How,
) -> Result<Done, String> {
    let began = Instant::now();
    let verified = undo(dir, entry)?;
    let done = Done {
        id: entry.id.clone(),
        how,
        at_ms: wait::unix_ms(),
        undo_ms: wait::millis(began.elapsed()),
        verified,
    };
    journal.append(&Record::Done(done.clone())).map_err(|error| {
        format!(
            "it is undone ({}), but the journal in {} cannot say so: {error}",
            done.verified,
            dir.path().display()
        )
    })?;
    Ok(done)
}

/// Undoes the fault and says what was seen.
pub(crate) fn undo(dir: &StateDir, entry: &Entry) -> Result<String, String> {
    match &entry.undo {
        Undo::Continue => pause::undo(&entry.victims),
        Undo::Restore(files) => clock::undo(files),
        Undo::EndHog { filler } => {
            let ended = end_hogs(dir, &entry.id)?;
            match filler {
                None => Ok(ended),
                Some(filler) => Ok(format!("{ended}, {}", remove_filler(filler)?)),
            }
        }
        Undo::Nothing => Ok("nothing is to be undone".to_owned()),
    }
}

fn end_hogs(dir: &StateDir, fault: &str) -> Result<String, String> {
    let mut problem = None;
    let gone = wait::until(TAKES, || {
        let hogs = ours::hogs(dir, fault);
        for hog in &hogs {
            let killed =
                hog.id.open().and_then(|handle| handle.map(|it| it.signal(Signal::KILL)).transpose());
            if let Err(error) = killed {
                problem = Some(format!("process {} cannot be killed: {error}", hog.id));
            }
        }
        hogs.is_empty().then_some(())
    });
    match gone {
        Some(()) => Ok("no process of the fault is left".to_owned()),
        None => Err(problem.unwrap_or_else(|| {
            format!("a process of the fault is still there {} s after SIGKILL", TAKES.as_secs())
        })),
    }
}

fn remove_filler(filler: &Path) -> Result<String, String> {
    match fs::remove_file(filler) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(format!("{} cannot be removed: {error}; remove it", filler.display()));
        }
        _ => {}
    }
    let directory = filler.parent().unwrap_or_else(|| Path::new("/"));
    Ok(match limits::available_space(directory) {
        Ok(available) => {
            format!("no file of it is in {}, {available} bytes are available", directory.display())
        }
        // The directory itself is gone, and what was in it.
        Err(_) => format!("{} is gone", directory.display()),
    })
}
