//! Whether what an instance needs is used up: the host's processors and memory, its own file descriptors.

use std::fs;

use plan::units::print_size;

/// Shares from which on something counts as used up.
const CPU: f64 = 0.95;
const MEMORY: f64 = 0.95;
const FILES: f64 = 0.95;

/// The processors' time at the last reading.
#[derive(Debug, Default)]
pub(crate) struct Host {
    before: Option<Ticks>,
    busy: Option<f64>,
}

#[derive(Clone, Copy, Debug)]
struct Ticks {
    all: u64,
    idle: u64,
}

impl Host {
    /// Reads how busy the processors were since the last reading.
    pub(crate) fn read(&mut self) {
        let Some(now) = fs::read_to_string("/proc/stat").ok().and_then(|text| ticks(&text)) else { return };
        if let Some(before) = self.before {
            let all = now.all.saturating_sub(before.all);
            // Too short a time says nothing.
            if all < 10 {
                return;
            }
            self.busy = Some(1.0 - now.idle.saturating_sub(before.idle) as f64 / all as f64);
        }
        self.before = Some(now);
    }

    /// Whether the processors were as good as never idle between the last two readings.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.is_some_and(|busy| busy >= CPU)
    }

    /// What is used up, if anything is: of the host, or of this process.
    pub(crate) fn used_up(&self, pid: Option<u32>) -> Option<String> {
        let mut found = Vec::new();
        if let Some(busy) = self.busy.filter(|_| self.is_busy()) {
            found.push(format!("the host's processors are {:.0} % busy", busy * 100.0));
        }
        if let Ok(text) = fs::read_to_string("/proc/meminfo")
            && let (Some(all), Some(left)) = (meminfo(&text, "MemTotal:"), meminfo(&text, "MemAvailable:"))
            && left as f64 <= all as f64 * (1.0 - MEMORY)
        {
            found.push(format!("of the host's memory {} are left", print_size(left)));
        }
        if let Some((open, most)) = pid.and_then(files)
            && open as f64 >= most as f64 * FILES
        {
            found.push(format!("it has {open} of {most} files open"));
        }
        (!found.is_empty()).then(|| found.join(", "))
    }
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal, ….
fn ticks(text: &str) -> Option<Ticks> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Vec<u64> =
        line.split_ascii_whitespace().take(8).filter_map(|field| field.parse().ok()).collect();
    let idle = fields.get(3)? + fields.get(4)?;
    Some(Ticks { all: fields.iter().sum(), idle })
}

/// A line of `/proc/meminfo`, bytes.
fn meminfo(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

/// Open files of a process, and how many it may have.
fn files(pid: u32) -> Option<(u64, u64)> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    Some((u64::try_from(open).ok()?, line.split_ascii_whitespace().next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_figures_are_read() {
        let stat = "cpu  10 0 20 60 10 0 0 0 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        let read = ticks(stat).unwrap();
        assert_eq!((read.all, read.idle), (100, 70));
        let memory = "MemTotal:       16000 kB\nMemFree: 1 kB\nMemAvailable:     800 kB\n";
        assert_eq!(meminfo(memory, "MemAvailable:"), Some(800 << 10));
        assert_eq!(meminfo(memory, "Nothing:"), None);
        let (open, most) = files(std::process::id()).unwrap();
        assert!(open >= 3 && most >= open, "{open} of {most}");
    }
}
