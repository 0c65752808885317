//! Clocks that can be set off: a process is started with libfaketime, which reads the offset from a file.
//!
//! The library asks that file each time that the program asks for the time of day, and leaves monotonic clocks alone. It
//! reaches only programs that ask the C library: statically linked ones and Go's go by the machine's clock.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::state_dir::{Record, StateDir};
use crate::PlatformError;
use crate::instance::{Clock, InstanceState};

/// Where the library is, if not where Debian and others put it.
const VARIABLE: &str = "GAUNTLET_LIBFAKETIME";
/// That for programs with threads first: without its lock, some readings of other threads miss the offset, one in ten
/// thousand in a measurement. Each reading of the clock takes some 10 µs.
const LIBRARIES: [&str; 2] = ["libfaketimeMT.so.1", "libfaketime.so.1"];

/// The library, or why there is none.
///
/// # Errors
/// Says where it was looked for and how to get it.
pub fn libfaketime() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os(VARIABLE).map(PathBuf::from) {
        return if path.is_file() {
            Ok(path)
        } else {
            Err(format!("{VARIABLE} names {}, which is not there", path.display()))
        };
    }
    let architectures = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let dirs = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from).into_iter();
    let mut dirs: Vec<PathBuf> = dirs.chain(architectures).map(|dir| dir.join("faketime")).collect();
    dirs.sort();
    let mut places = LIBRARIES.iter().flat_map(|library| dirs.iter().map(move |dir| dir.join(library)));
    places.find(|path| path.is_file()).ok_or_else(|| {
        let names = LIBRARIES.join(" or ");
        format!("no {names} in /usr/lib/*/faketime: install libfaketime, or set {VARIABLE} to the file")
    })
}

/// Notes in the record what its clock will be; the environment that makes it so.
pub(super) fn set_up(
    dir: &StateDir,
    record: &mut Record,
) -> Result<Vec<(&'static str, OsString)>, PlatformError> {
    record.clock = None;
    if !record.spec.clock_adjustable {
        return Ok(Vec::new());
    }
    let library = match libfaketime() {
        Ok(library) => library,
        Err(why) => {
            record.clock = Some(Clock::Fixed { why });
            return Ok(Vec::new());
        }
    };
    let file = dir.clock_file(&record.id);
    // An offset outlives a restart: whoever set it takes it back.
    if !file.exists() {
        dir.reset_clock(&record.id)?;
    }
    record.clock = Some(Clock::Adjustable { file: file.clone() });
    let before = record.spec.env.get("LD_PRELOAD").map(OsString::from);
    let mut preload = library.into_os_string();
    if let Some(before) = before.or_else(|| std::env::var_os("LD_PRELOAD")).filter(|text| !text.is_empty()) {
        preload.push(":");
        preload.push(before);
    }
    Ok(vec![
        ("LD_PRELOAD", preload),
        ("FAKETIME_TIMESTAMP_FILE", file.into_os_string()),
        ("FAKETIME_NO_CACHE", "1".into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
    ])
}

/// Whether a process has what it preloads: a loader maps that before the C library, so that one that has just started may have
/// neither yet. A static program has no loader, and musl's is the C library.
fn is_past_preloading(maps: &str) -> bool {
    !maps.contains("/ld-") || ["/libc.so", "/libc-", "/ld-musl"].iter().any(|library| maps.contains(library))
}

/// The clock as it is found: a program that runs without the library is not reached.
pub(super) fn of(record: &Record, state: InstanceState) -> Option<Clock> {
    let clock = record.clock.clone()?;
    let runs = matches!(state, InstanceState::Running | InstanceState::Paused);
    if let (Clock::Adjustable { .. }, true, Some(process)) = (&clock, runs, &record.process)
        && let Ok(maps) = fs::read_to_string(format!("/proc/{}/maps", process.pid))
        && !maps.contains("libfaketime")
        && is_past_preloading(&maps)
    {
        let program = record.program.display();
        let why =
            format!("{program} does not load libfaketime: it is linked statically, or drops LD_PRELOAD");
        return Some(Clock::Fixed { why });
    }
    Some(clock)
}

/// Removes the shared memory that the library leaves when its process is killed, or becomes another program.
pub(super) fn tidy(record: &Record) {
    let (Some(Clock::Adjustable { .. }), Some(process)) = (&record.clock, &record.process) else { return };
    if process.is_alive().unwrap_or(true) {
        return;
    }
    for name in ["faketime_shm_", "sem.faketime_sem_"] {
        let _ = fs::remove_file(Path::new("/dev/shm").join(format!("{name}{}", process.pid)));
    }
}

#[cfg(test)]
mod tests {
    use super::is_past_preloading;

    #[test]
    fn a_program_that_is_still_being_loaded_is_not_judged() {
        let program = "/usr/bin/date\n/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2\n";
        assert!(!is_past_preloading(program));
        assert!(is_past_preloading(&format!("{program}/usr/lib/x86_64-linux-gnu/libc.so.6\n")));
        assert!(is_past_preloading("/usr/bin/busybox\n"), "static");
        assert!(is_past_preloading("/usr/bin/app\n/lib/ld-musl-x86_64.so.1\n"));
    }
}
