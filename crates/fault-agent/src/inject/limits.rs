//! How much of the machine a fault may take, by what is there when it begins.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use rustix::fs::statvfs;
use rustix::process::{Resource, getrlimit};

use super::Refusal;
use crate::action::Take;

/// Spinning threads for each core; more take nothing more away.
const THREADS_A_CORE: u32 = 4;
/// File descriptors that a hog needs for itself.
const OWN_FILES: u64 = 32;

pub(crate) fn threads(threads: u32) -> Result<u32, Refusal> {
    let cores = available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX));
    let most = cores.saturating_mul(THREADS_A_CORE);
    if (1..=most).contains(&threads) {
        return Ok(threads);
    }
    Err(Refusal::new(
        format!("{threads} threads are not from 1 to {most}, {THREADS_A_CORE} for each of {cores} cores"),
        "ask for a number within",
    ))
}

pub(crate) fn memory(bytes: u64, reserve: u64) -> Result<u64, Refusal> {
    let available = available_memory().ok_or_else(|| {
        Refusal::new(
            "/proc/meminfo does not say how much memory is available",
            "use a system whose kernel does",
        )
    })?;
    let most = available.saturating_sub(reserve);
    if (1..=most).contains(&bytes) {
        return Ok(bytes);
    }
    Err(Refusal::new(
        format!(
            "{bytes} bytes are not from 1 to {most}: {available} bytes of memory are available, of which {reserve} stay"
        ),
        "ask for less, or lower the agent's reserve",
    ))
}

/// Bytes of memory that can be taken without swapping.
pub(crate) fn available_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

pub(crate) fn connections(count: u32) -> Result<u32, Refusal> {
    // The hog raises its limit as far as it goes.
    let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let most = limit.saturating_sub(OWN_FILES);
    if (1..=most).contains(&u64::from(count)) {
        return Ok(count);
    }
    Err(Refusal::new(
        format!(
            "{count} connections are not from 1 to {most}: a process here may have {limit} open files, {OWN_FILES} of which \
             it needs itself"
        ),
        "ask for fewer, or raise the hard limit on open files (ulimit -Hn)",
    ))
}

/// The directory by its real path, and the bytes to take.
pub(crate) fn disk(directory: &Path, take: Take, reserve: u64) -> Result<(PathBuf, u64), Refusal> {
    let shown = directory.display();
    let wrong = |error: &dyn std::fmt::Display| {
        Refusal::new(format!("{shown} is no directory that can be filled: {error}"), "name one that is there")
    };
    let real = directory.canonicalize().map_err(|error| wrong(&error))?;
    if !real.is_dir() {
        return Err(wrong(&"it is no directory"));
    }
    let available = available_space(&real).map_err(|error| wrong(&error))?;
    let (bytes, left) = match take {
        Take::Bytes(bytes) => (bytes, available.saturating_sub(bytes)),
        Take::AllBut(left) => (available.saturating_sub(left), left),
    };
    if bytes == 0 || bytes > available || left < reserve {
        return Err(Refusal::new(
            format!(
                "{shown} has {available} bytes available: taking {bytes} leaves {left}, and at least {reserve} must stay"
            ),
            "ask for less, or lower the agent's reserve",
        ));
    }
    Ok((real, bytes))
}

/// Bytes that users who are not root can write.
pub(crate) fn available_space(directory: &Path) -> std::io::Result<u64> {
    let stat = statvfs(directory)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_refused_with_figures() {
        assert!(threads(1).is_ok());
        assert!(threads(0).unwrap_err().problem.starts_with("0 threads are not from 1 to "));
        assert!(threads(1_000_000).is_err());
        assert_eq!(memory(4096, 0), Ok(4096));
        for (bytes, reserve) in [(0, 0), (u64::MAX, 0), (4096, u64::MAX)] {
            assert!(
                memory(bytes, reserve).unwrap_err().mend.starts_with("ask for less"),
                "{bytes} {reserve}"
            );
        }
        assert_eq!(connections(1), Ok(1));
        assert!(connections(0).is_err());
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        assert_eq!(disk(dir.path(), Take::Bytes(4096), 0), Ok((real, 4096)));
        for (take, reserve) in [
            (Take::Bytes(0), 0),
            (Take::Bytes(u64::MAX), 0),
            (Take::Bytes(4096), u64::MAX),
            (Take::AllBut(4095), 4096),
            (Take::AllBut(u64::MAX), 0),
        ] {
            let refusal = disk(dir.path(), take, reserve).unwrap_err();
            assert!(refusal.problem.contains("bytes available"), "{take:?}: {}", refusal.problem);
        }
        let absent = disk(&dir.path().join("absent"), Take::Bytes(1), 0).unwrap_err();
        assert!(absent.problem.contains("is no directory that can be filled"), "{}", absent.problem);
    }
}
