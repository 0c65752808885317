//! CPU time and memory of processes and of the machine, from `/proc`.

use std::{fs, io, thread};

use rustix::param::{clock_ticks_per_second, page_size};

use crate::proc_fs::{self, Stat};

/// What a process has used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// User and system time since it started, in seconds; resolution 10 ms on Linux.
    pub cpu_seconds: f64,
    /// Resident memory, in bytes. In a sum over processes, pages that they share count once for each.
    pub rss_bytes: u64,
    /// When it started, in clock ticks after boot: another value under the same pid is another process.
    pub started_ticks: u64,
    /// How many processes the figures cover.
    pub processes: u32,
}

/// What the machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Cores that this process may use.
    pub cores: u32,
    /// Memory, in bytes: of the machine or of our control group, whichever is less.
    pub memory_bytes: u64,
    /// Memory that could be used without swapping, in bytes.
    pub available_bytes: u64,
}

/// Reads one process.
///
/// # Errors
/// `NotFound` when it does not exist or has ended.
pub fn read(pid: u32) -> io::Result<Usage> {
    let stat = living(pid)?;
    Ok(sum(&stat, &[stat], 0))
}

/// Reads a process with all that descend from it: a server that forks its workers, such as nginx. Time of children that
/// ended and were waited for is included, so that the sum does not fall when a worker ends.
///
/// # Errors
/// `NotFound` when it does not exist or has ended.
pub fn read_tree(pid: u32) -> io::Result<Usage> {
    let root = living(pid)?;
    let tree = proc_fs::tree(pid);
    let waited_for = tree.iter().map(|stat| stat.children_ticks).sum();
    Ok(sum(&root, &tree, waited_for))
}

fn living(pid: u32) -> io::Result<Stat> {
    let stat = proc_fs::stat(pid)?;
    if stat.ended() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("process {pid} has ended")));
    }
    Ok(stat)
}

fn sum(root: &Stat, stats: &[Stat], more_ticks: u64) -> Usage {
    let ticks = stats.iter().map(|stat| stat.ticks).sum::<u64>() + more_ticks;
    let pages: u64 = stats.iter().map(|stat| stat.resident).sum();
    Usage {
        cpu_seconds: ticks as f64 / clock_ticks_per_second() as f64,
        rss_bytes: pages * page_size() as u64,
        started_ticks: root.started,
        processes: u32::try_from(stats.len()).unwrap_or(u32::MAX),
    }
}

/// Reads the machine.
///
/// # Errors
/// When `/proc/meminfo` cannot be read.
pub fn machine() -> io::Result<Machine> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kilobytes = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        kilobytes
            .map(|kilobytes| kilobytes * 1024)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/meminfo has no {name}")))
    };
    let limit = group_limit();
    Ok(Machine {
        cores: thread::available_parallelism()
            .map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX)),
        memory_bytes: field("MemTotal")?.min(limit),
        available_bytes: field("MemAvailable")?.min(limit),
    })
}

/// The memory limit of our control group as a container sees it (version 2, then 1); `u64::MAX` = none.
fn group_limit() -> u64 {
    ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok())
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_ever_more_time() {
        let before = read(std::process::id()).unwrap();
        assert!(before.rss_bytes > 0 && before.processes == 1);
        let mut last = before;
        // Until the clock ticks: the loop is the load that it waits for.
        while last.cpu_seconds <= before.cpu_seconds {
            last = read(std::process::id()).unwrap();
        }
        assert_eq!(last.started_ticks, before.started_ticks);
        assert!(read_tree(std::process::id()).unwrap().cpu_seconds >= last.cpu_seconds);
    }

    #[test]
    fn no_such_process_is_not_found() {
        // Beyond the largest pid that Linux gives.
        assert_eq!(read(1 << 23).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(read_tree(1 << 23).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn the_machine_has_cores_and_memory() {
        let machine = machine().unwrap();
        assert!(machine.cores > 0);
        assert!(machine.available_bytes > 0 && machine.available_bytes <= machine.memory_bytes);
    }
}
