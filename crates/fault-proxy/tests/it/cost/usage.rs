//! Who used the processors while something was measured.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// A look at the clocks of this process, of the proxy and of the machine.
pub(super) struct Look {
    at: Instant,
    own: Duration,
    proxy: Duration,
    idle: Duration,
}

/// What was used between two looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    /// Processor time of client and server.
    pub(super) own: Duration,
    /// The proxy's.
    pub(super) proxy: Duration,
    /// Share of the machine that nobody used.
    pub(super) idle: f64,
    /// Share of the machine that others used.
    pub(super) others: f64,
}

impl Look {
    pub(super) fn now(proxy: u32) -> Self {
        let own = clock_gettime(ClockId::ProcessCPUTime);
        Self {
            at: Instant::now(),
            own: Duration::new(own.tv_sec.unsigned_abs(), u32::try_from(own.tv_nsec).unwrap()),
            proxy: of_process(proxy),
            idle: idle(),
        }
    }

    /// What was used since then.
    pub(super) fn used(&self, proxy: u32) -> Usage {
        let now = Self::now(proxy);
        let (own, proxy) = (now.own - self.own, now.proxy.saturating_sub(self.proxy));
        let cores = std::thread::available_parallelism().unwrap().get() as f64;
        let all = (now.at - self.at).as_secs_f64() * cores;
        let idle = ((now.idle.saturating_sub(self.idle)).as_secs_f64() / all).min(1.0);
        let others = (1.0 - idle - (own + proxy).as_secs_f64() / all).max(0.0);
        Usage { own, proxy, idle, others }
    }
}

/// Of all its threads, as the scheduler counts it: to the nanosecond.
fn of_process(process: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let nanos = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// Of all processors together; the kernel counts hundredths of a second.
fn idle() -> Duration {
    let text = std::fs::read_to_string("/proc/stat").unwrap();
    let line = text.lines().next().unwrap();
    // Idle, and waiting for a disk.
    let ticks: u64 = line.split_whitespace().skip(4).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}
