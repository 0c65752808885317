//! Reads of `/proc`: processes as the kernel tells of them.

use std::collections::BTreeMap;
use std::{fs, io};

/// What `/proc/<pid>/stat` says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Its id.
    pub pid: u32,
    /// Its parent's id; init's once the parent has ended.
    pub parent: u32,
    /// Its process group.
    pub group: u32,
    /// Its session, named by the pid of the process that made it.
    pub session: u32,
    /// `R`, `S`, `D`, `T` … as in proc(5); `Z` and `X` have ended.
    pub state: u8,
    /// User and system time of the process itself, in clock ticks.
    pub ticks: u64,
    /// The same of children that it has waited for.
    pub children_ticks: u64,
    /// When it started, in clock ticks after boot: with the pid, what identifies it.
    pub started: u64,
    /// Resident pages.
    pub resident: u64,
}

impl Stat {
    /// Its main thread has ended.
    #[must_use]
    pub fn ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }

    /// A signal or a tracer stopped it.
    #[must_use]
    pub fn stopped(&self) -> bool {
        matches!(self.state, b'T' | b't')
    }
}

/// Reads one process.
///
/// # Errors
/// `NotFound` when there is none with this pid; `InvalidData` when the kernel's text is not as expected.
pub fn stat(pid: u32) -> io::Result<Stat> {
    read(pid, &format!("/proc/{pid}/stat"))
}

/// Reads the threads of a process, each as if it was one of its own; one that ends while we look may be missing.
///
/// # Errors
/// `NotFound` when there is no process with this pid.
pub fn threads(pid: u32) -> io::Result<Vec<Stat>> {
    let entries = fs::read_dir(format!("/proc/{pid}/task"))?;
    let stat = |thread: u32| read(thread, &format!("/proc/{pid}/task/{thread}/stat")).ok();
    Ok(entries.flatten().filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?)).collect())
}

fn read(pid: u32, path: &str) -> io::Result<Stat> {
    let text = fs::read(path).map_err(|error| {
        // A process that ends between opening and reading is gone, too.
        let gone = error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error());
        if gone { io::ErrorKind::NotFound.into() } else { error }
    })?;
    parse(pid, &text)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{path} is not as proc(5) says")))
}

fn parse(pid: u32, text: &[u8]) -> Option<Stat> {
    // The name may contain spaces and parentheses: fields are counted after the last one.
    let after_name = text.iter().rposition(|byte| *byte == b')')? + 2;
    let rest = std::str::from_utf8(text.get(after_name..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // proc(5) numbers fields from 1, and the state is its third.
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Stat {
        pid,
        state: *fields.first()?.as_bytes().first()?,
        parent: u32::try_from(number(4)?).ok()?,
        group: u32::try_from(number(5)?).ok()?,
        session: u32::try_from(number(6)?).ok()?,
        ticks: number(14)? + number(15)?,
        children_ticks: number(16)? + number(17)?,
        started: number(22)?,
        resident: number(24)?,
    })
}

/// All processes; one that ends while we look may be missing.
#[must_use]
pub fn all() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?).ok()).collect()
}

/// The process and all that descend from it, itself first. Those whose parent has ended belong to init and are not among
/// them. Empty when there is no such process.
#[must_use]
pub fn tree(root: u32) -> Vec<Stat> {
    with_descendants(|stat| stat.pid == root)
}

/// The process that leads a session, the session's members, and all that descend from one of them, members first.
#[must_use]
pub fn session(leader: u32) -> Vec<Stat> {
    with_descendants(|stat| stat.session == leader || stat.pid == leader)
}

fn with_descendants(root: impl Fn(&Stat) -> bool) -> Vec<Stat> {
    let mut children: BTreeMap<u32, Vec<Stat>> = BTreeMap::new();
    let mut found = Vec::new();
    for stat in all() {
        if root(&stat) {
            found.push(stat);
        } else {
            children.entry(stat.parent).or_default().push(stat);
        }
    }
    let mut next = 0;
    while let Some(parent) = found.get(next).map(|stat: &Stat| stat.pid) {
        found.extend(children.remove(&parent).unwrap_or_default());
        next += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_spaces_and_parentheses_do_not_shift_fields() {
        let text = b"42 (a) b (c)) S 7 42 41 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 999 1000000 250 18446744073709551615";
        let stat = parse(42, text).unwrap();
        let expected = Stat {
            pid: 42,
            parent: 7,
            group: 42,
            session: 41,
            state: b'S',
            ticks: 30,
            children_ticks: 70,
            started: 999,
            resident: 250,
        };
        assert_eq!(stat, expected);
        assert_eq!(parse(42, b"42 (short) S 7"), None);
    }

    #[test]
    fn the_tree_of_this_process_begins_with_it() {
        let tree = tree(std::process::id());
        assert_eq!(tree.first().map(|stat| stat.pid), Some(std::process::id()));
    }

    #[test]
    fn this_thread_is_among_the_threads() {
        let threads = threads(std::process::id()).unwrap();
        let own = rustix::thread::gettid().as_raw_pid().unsigned_abs();
        assert!(threads.iter().any(|thread| thread.pid == own && !thread.ended() && !thread.stopped()));
    }
}
