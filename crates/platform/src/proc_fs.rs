//! Reads of `/proc`.

use std::collections::BTreeMap;
use std::{fs, io};

/// What `/proc/<pid>/stat` says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    /// Its process group.
    pub(crate) group: u32,
    /// `Z` and `X` have ended.
    pub(crate) state: u8,
    /// User and system time of the process itself, in clock ticks.
    pub(crate) ticks: u64,
    /// The same of children that it has waited for.
    pub(crate) children_ticks: u64,
    /// When it started, in clock ticks after boot: with the pid, what identifies it.
    pub(crate) started: u64,
    /// Resident pages.
    pub(crate) resident: u64,
}

impl Stat {
    pub(crate) fn ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }
}

pub(crate) fn stat(pid: u32) -> io::Result<Stat> {
    let text = fs::read(format!("/proc/{pid}/stat"))?;
    parse(pid, &text).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat is not as proc(5) says"))
    })
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
        ticks: number(14)? + number(15)?,
        children_ticks: number(16)? + number(17)?,
        started: number(22)?,
        resident: number(24)?,
    })
}

/// All processes; one that ends while we look may be missing.
fn all() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?).ok()).collect()
}

/// The members of a process group.
pub(crate) fn group(group: u32) -> Vec<Stat> {
    all().into_iter().filter(|stat| stat.group == group).collect()
}

/// The process and all that descend from it, itself first. Those whose parent has ended belong to init and are not among
/// them. Empty when there is no such process.
pub(crate) fn tree(root: u32) -> Vec<Stat> {
    let mut children: BTreeMap<u32, Vec<Stat>> = BTreeMap::new();
    let mut found = Vec::new();
    for stat in all() {
        if stat.pid == root {
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
        let text = b"42 (a) b (c)) S 7 42 42 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 999 1000000 250 18446744073709551615";
        let stat = parse(42, text).unwrap();
        let expected = Stat {
            pid: 42,
            parent: 7,
            group: 42,
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
}
