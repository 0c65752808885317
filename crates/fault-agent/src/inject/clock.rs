//! Setting the wall clock of processes that were started with libfaketime, through the file that it reads.
//!
//! The file holds an offset in seconds, such as `+0` or `-30.5`. libfaketime in the process reads it anew each time
//! (`FAKETIME_NO_CACHE`), so that what is written there is what the process sees.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::{Refusal, victims};
use crate::action::Clock;
use crate::journal::Before;

/// No file of an offset is longer.
const LONGEST: usize = 64;
/// What libfaketime has its file named by.
const VARIABLE: &[u8] = b"FAKETIME_TIMESTAMP_FILE=";

/// What the files hold now, once it is sure that each is the clock of its process.
pub(crate) fn before(clocks: &[Clock]) -> Result<Vec<Before>, Refusal> {
    if clocks.is_empty() {
        return Err(Refusal::new("no victim is named", "name at least one process and its clock"));
    }
    clocks.iter().map(of_one).collect()
}

fn of_one(clock: &Clock) -> Result<Before, Refusal> {
    let victim = &clock.victim;
    let Some(file) = &clock.file else {
        return Err(not_adjustable(victim.pid, "its record names no clock file"));
    };
    match victim.is_alive() {
        Ok(true) => {}
        Ok(false) => return Err(victims::ended(victim)),
        Err(error) => return Err(victims::unread(victim, &error)),
    }
    let wrong = |what: String| {
        Refusal::new(
            format!("{} is not the clock of process {}: {what}", file.display(), victim.pid),
            "name the file that the process was started with",
        )
    };
    let file = file.canonicalize().map_err(|error| wrong(error.to_string()))?;
    let content = fs::read_to_string(&file).map_err(|error| wrong(error.to_string()))?;
    if offset_ms(&content).is_none() {
        return Err(wrong("it does not hold an offset such as +0".to_owned()));
    }
    let environment =
        fs::read(format!("/proc/{}/environ", victim.pid)).map_err(|error| victims::unread(victim, &error))?;
    let named = environment.split(|byte| *byte == 0).find_map(|variable| variable.strip_prefix(VARIABLE));
    match named.map(|path| Path::new(OsStr::from_bytes(path)).canonicalize()) {
        Some(Ok(named)) if named == file => {}
        Some(_) => return Err(wrong("it was started with another".to_owned())),
        None => return Err(not_adjustable(victim.pid, "its environment names no clock file")),
    }
    // Static programs, and those that do not ask the C library, ignore it: then the fault would be none.
    match fs::read(format!("/proc/{}/maps", victim.pid)) {
        Ok(maps) if maps.windows(11).any(|window| window == b"libfaketime") => {}
        Ok(_) => return Err(not_adjustable(victim.pid, "libfaketime is not loaded in it")),
        Err(error) => return Err(victims::unread(victim, &error)),
    }
    Ok(Before { file, content })
}

fn not_adjustable(pid: u32, why: &str) -> Refusal {
    Refusal::new(
        format!("process {pid} was not started with a clock that can be adjusted: {why}"),
        "start it through the plan with an adjustable clock; programs in Go and static ones have none",
    )
}

/// Writes the offset into each file, and reads it back.
pub(crate) fn set(files: &[Before], offset: i64) -> Result<String, String> {
    for before in files {
        write(&before.file, &text(offset))
            .map_err(|error| format!("{} cannot be written: {error}", before.file.display()))?;
        if read(&before.file) != Some(offset) {
            return Err(format!("{} does not hold what was written", before.file.display()));
        }
    }
    Ok(format!("{} clock files read {}", files.len(), text(offset).trim()))
}

/// Gives each file back what it held, and reads it back. A file that is gone has no effect any more.
pub(crate) fn undo(files: &[Before]) -> Result<String, String> {
    let mut gone = 0;
    for before in files {
        let shown = before.file.display();
        match fs::read_to_string(&before.file) {
            Ok(content) if content == before.content => {}
            Ok(_) => {
                write(&before.file, &before.content).map_err(|error| {
                    format!("{shown} cannot be written: {error}; write {} into it", before.content.trim())
                })?;
                if fs::read_to_string(&before.file).ok().as_ref() != Some(&before.content) {
                    return Err(format!("{shown} does not hold {} again", before.content.trim()));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => gone += 1,
            Err(error) => return Err(format!("{shown} cannot be read: {error}")),
        }
        remove_new(&before.file)?;
    }
    Ok(match gone {
        0 => format!("{} clock files read as before", files.len()),
        gone => format!("{} clock files read as before, {gone} are gone", files.len() - gone),
    })
}

/// The offset that a clock file holds, in milliseconds; `None` = it is none.
pub(crate) fn read(file: &Path) -> Option<i64> {
    offset_ms(&fs::read_to_string(file).ok()?)
}

fn text(offset: i64) -> String {
    let sign = if offset < 0 { '-' } else { '+' };
    let (seconds, millis) = (offset.unsigned_abs() / 1000, offset.unsigned_abs() % 1000);
    if millis == 0 { format!("{sign}{seconds}\n") } else { format!("{sign}{seconds}.{millis:03}\n") }
}

fn offset_ms(content: &str) -> Option<i64> {
    let text = content.trim();
    if content.len() > LONGEST || !text.starts_with(['+', '-']) {
        return None;
    }
    let seconds: f64 = text.parse().ok()?;
    // Whole milliseconds of less than 300 000 years fit.
    #[expect(clippy::cast_possible_truncation, reason = "a cast from float saturates")]
    seconds.is_finite().then_some((seconds * 1000.0).round() as i64)
}

/// At once: whoever reads sees the old or the new offset.
fn write(file: &Path, content: &str) -> io::Result<()> {
    let new = new(file);
    fs::write(&new, content)?;
    fs::set_permissions(&new, fs::metadata(file)?.permissions())?;
    fs::rename(&new, file)
}

/// Left when the writer died between writing and renaming.
fn remove_new(file: &Path) -> Result<(), String> {
    match fs::remove_file(new(file)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("{} cannot be removed: {error}", new(file).display()))
        }
        _ => Ok(()),
    }
}

/// Where a new offset is before it takes the file's place.
pub(crate) fn new(file: &Path) -> std::path::PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".gauntlet-fault-new");
    file.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_written_as_libfaketime_reads_them() {
        for (offset, expected) in
            [(0, "+0\n"), (30_000, "+30\n"), (-500, "-0.500\n"), (1_005, "+1.005\n"), (-90_000, "-90\n")]
        {
            assert_eq!(text(offset), expected);
            assert_eq!(offset_ms(expected), Some(offset));
        }
        for wrong in ["", "0", "2026-01-01 00:00:00", "+", "+x", "@5", "+inf"] {
            assert_eq!(offset_ms(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_clock_is_restored_however_far_its_writer_came() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("clock");
        fs::write(&file, "+0").unwrap();
        let before = [Before { file: file.clone(), content: "+0".to_owned() }];
        assert_eq!(undo(&before).unwrap(), "1 clock files read as before");
        assert_eq!(set(&before, -2_500).unwrap(), "1 clock files read -2.500");
        fs::write(new(&file), "+7").unwrap();
        for _ in 0..2 {
            undo(&before).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), "+0");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        fs::remove_file(&file).unwrap();
        assert_eq!(undo(&before).unwrap(), "0 clock files read as before, 1 are gone");
    }
}
