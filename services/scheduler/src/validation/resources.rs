//! What the phase will need of this host: open files, memory, disk, load threads.

use std::path::Path;
use std::sync::OnceLock;

use plan::model::{Phase, Plan};
use plan::units::print_size;
use protocol::id::WorkerId;

use super::Unmet;
use crate::figures::count;
use crate::run::Context;

/// Open files beside one per connection: logs, store, probes, API.
const OTHER_FILES: u64 = 256;
/// Memory beside connections and users: histograms, guests' code, buffers of the store.
const OTHER_MEMORY: u64 = 64 << 20;
/// Buffers of one connection.
const MEMORY_PER_CONNECTION: u64 = 16 << 10;
/// The worker's own state of one user.
const MEMORY_PER_USER: u64 = 2 << 10;
/// Disk for history and logs, and for the samples of a second.
const OTHER_DISK: u64 = 16 << 20;
const DISK_PER_SECOND: u64 = 64 << 10;

/// Checks all of them, and names all that is short. Files and memory are this host's only when a worker runs on it.
pub(super) fn available(
    ctx: &Context,
    phase: &Phase,
    assigned: &[WorkerId],
    load_threads: u32,
) -> Result<String, Unmet> {
    let mut seen = Vec::new();
    let mut short: Vec<Unmet> = Vec::new();
    let mut add = |found: Result<String, Unmet>| match found {
        Ok(text) => seen.push(text),
        Err(unmet) => short.push(unmet),
    };
    if works_here(ctx, assigned) {
        add(open_files(phase));
        add(memory(&ctx.plan, phase));
    }
    add(disk(&ctx.run_dir, phase));
    add(if load_threads > 0 {
        Ok(count(load_threads as usize, "load thread"))
    } else {
        Err(Unmet::new("no load thread", "set `load.threads` to at least 1"))
    });
    if short.is_empty() {
        return Ok(seen.join(", "));
    }
    let texts = |pick: fn(&Unmet) -> &str| short.iter().map(pick).collect::<Vec<_>>().join("; ");
    Err(Unmet::new(texts(|unmet| &unmet.seen), texts(|unmet| &unmet.mend)))
}

fn works_here(ctx: &Context, assigned: &[WorkerId]) -> bool {
    static HOST: OnceLock<String> = OnceLock::new();
    let host = HOST.get_or_init(|| {
        std::fs::read_to_string("/proc/sys/kernel/hostname")
            .map(|name| name.trim().to_owned())
            .unwrap_or_default()
    });
    let timeout = ctx.plan.control.worker_timeout;
    ctx.workers.alive(timeout).iter().any(|worker| {
        assigned.contains(&worker.id) && (worker.beat.host.is_empty() || worker.beat.host == *host)
    })
}

fn open_files(phase: &Phase) -> Result<String, Unmet> {
    let wanted = u64::from(phase.connections) + OTHER_FILES;
    match platform::limits::raise_open_files(wanted) {
        Ok(limit) => Ok(format!("{limit} open files for {wanted}")),
        Err(error) => Err(Unmet::new(
            format!(
                "{} connections and {OTHER_FILES} other files make {wanted} open files, the hard limit is {}",
                phase.connections, error.hard
            ),
            format!(
                "set `phases.{}.connections` to at most {}, or raise the limit (`ulimit -Hn`)",
                phase.name.name(),
                error.hard.saturating_sub(OTHER_FILES)
            ),
        )),
    }
}

fn memory(plan: &Plan, phase: &Phase) -> Result<String, Unmet> {
    let users = u64::from(phase.max_users.max(phase.connections));
    let needed = OTHER_MEMORY
        + u64::from(phase.connections) * MEMORY_PER_CONNECTION
        + users * (MEMORY_PER_USER + plan.load.guest.memory_per_user);
    let available = match platform::usage::machine() {
        Ok(machine) => machine.available_bytes,
        Err(error) => {
            return Err(Unmet::new(format!("memory cannot be read: {error}"), "make /proc/meminfo readable"));
        }
    };
    if available >= needed {
        return Ok(format!("{} MiB of memory for {} MiB", available >> 20, needed >> 20));
    }
    Err(Unmet::new(
        format!(
            "{users} users on {} connections need about {} MiB of memory, {} MiB are available",
            phase.connections,
            needed >> 20,
            available >> 20
        ),
        format!(
            "free memory, or lower `phases.{0}.connections` and `phases.{0}.max-users`",
            phase.name.name()
        ),
    ))
}

fn disk(dir: &Path, phase: &Phase) -> Result<String, Unmet> {
    let needed = OTHER_DISK + phase.duration.as_secs() * DISK_PER_SECOND;
    let stat = rustix::fs::statvfs(dir).map_err(|error| {
        let seen = format!("run directory {}: {}", dir.display(), std::io::Error::from(error));
        Unmet::new(seen, "choose a directory that exists and can be read")
    })?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free >= needed {
        return Ok(format!("{} MiB of disk for {} MiB", free >> 20, needed >> 20));
    }
    let needed = print_size((needed >> 20).max(1) << 20);
    Err(Unmet::new(
        format!("run directory {}: {needed} of disk are needed, {} MiB are free", dir.display(), free >> 20),
        "free space there or choose another run directory",
    ))
}
