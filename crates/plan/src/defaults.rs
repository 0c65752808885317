//! Defaults of what stands outside phases. They are plan keys all; a test holds each of them.
//!
//! | key | default | from |
//! |---|---|---|
//! | `load.threads` | cores − 1, at least 1 | R9.4 |
//! | `load.batch` | 64 starts | |
//! | `load.connect-timeout`, `handshake-timeout` | 5 s, 5 s | |
//! | `load.connect-rate` | 10 000 a second and thread | |
//! | `load.interval` | 1 s | |
//! | `load.grace` | 5 s | R2.3 |
//! | `load.max-head`, `load.max-body`, `load.max-event` | 64 KiB, 64 MiB, 1 MiB | |
//! | `load.io-uring` | true | |
//! | `load.guest.call-deadline` | 50 ms of CPU time | R5.2 |
//! | `load.guest.memory`, `memory-per-user` | 64 MiB, 4 KiB | R5.2 |
//! | `load.guest.output` | 8 MiB a call | R5.2 |
//! | `load.guest.log-lines` | 100 a second | R5.2 |
//! | `validity.send-lag`, `send-lag-share` | 5 ms, 10 % of service p99 | R9.4 |
//! | `validity.achieved`, `short-seconds` | 99 %, 5 % | R9.4 |
//! | `validity.drops` | 0.1 % | R9.4 |
//! | `validity.busy`, `busy-for` | 90 %, 10 s | R9.4 |
//! | `validity.traps-per-minute` | 5 | R9.4 |
//! | `control.validate`, `validate-timeout` | true, 10 s | R2.1 |
//! | `control.ramp-down` | 5 s | R2.3 |
//! | `control.probe-interval`, `probe-timeout` | 5 s, 5 s | R7.1 |
//! | `control.api` | 127.0.0.1:0 | R12 |
//! | `control.worker-timeout`, `controller-lease` | 2 s, 15 s | R4.6 |
//! | `control.scheduler-restart` | resume | R2.5 |
//! | `targets.*.balance` | round-robin | |
//! | `targets.*.health-check` | none; 10 s, timeout 5 s, 3 failures, 2 successes, TCP | |
//! | `targets.*.outlier-detection` | none; 5 failures, 30 s, 50 % | |
//! | `targets.*.keep-alive`, `tls.resumption` | true, true | |
//! | `targets.*.tls.min-version`, `max-version` | 1.2, 1.3 | |
//! | `targets.*.chaos` | false; `most`: all | R6.3 |
//! | `chaos[].name`, `phase`, `mode`, `times` | the recipe's name, chaos, one, 1 | R6.3, R6.4 |
//! | `chaos[].at` | drawn from the seed | R6.4 |
//! | `chaos[].stop-over` | 5 s | R6.3 |
//! | `recovery.*.strategy` | restart with a platform, else shed-load | R7.1 |
//! | `recovery.*.interval`, `timeout`, `fall`, `rise` | 5 s, 600 ms, 1, 2 | R7.1 |
//! | `recovery.*.restarts`, `shed` | 5, 50 % | R7.1 |
//! | `recovery-budgets.detection`, `recovery`, `validation` | 30 s, 2 min, 5 min | R7.2 |
//! | `report.dir`, `report.slowest` | runs, 10 | |
//! | `scenarios[].timeout`, `weight`, `trial` | 30 s, 1, true | R4.5 |
//! | `processes.*.ready-timeout`, `stop-timeout` | 30 s, 10 s | |

use std::path::PathBuf;
use std::time::Duration;

use crate::model::{Control, GuestLimits, Load, Report, SchedulerRestart, Validity};

impl Default for Load {
    fn default() -> Self {
        Self {
            threads: None,
            batch: 64,
            connect_timeout: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(5),
            connect_rate: 10_000,
            interval: Duration::from_secs(1),
            grace: Duration::from_secs(5),
            guest: GuestLimits::default(),
            max_head: 64 << 10,
            max_body: 64 << 20,
            max_event: 1 << 20,
            io_uring: true,
        }
    }
}

impl Default for GuestLimits {
    fn default() -> Self {
        Self {
            call_deadline: Duration::from_millis(50),
            memory: 64 << 20,
            memory_per_user: 4 << 10,
            output: 8 << 20,
            log_lines: 100,
        }
    }
}

impl Default for Validity {
    fn default() -> Self {
        Self {
            send_lag: Duration::from_millis(5),
            send_lag_share: 0.10,
            achieved: 0.99,
            short_seconds: 0.05,
            drops: 0.001,
            busy: 0.90,
            busy_for: Duration::from_secs(10),
            traps_per_minute: 5,
            judge: true,
        }
    }
}

impl Default for Control {
    fn default() -> Self {
        Self {
            validate: true,
            validate_timeout: Duration::from_secs(10),
            ramp_down: Duration::from_secs(5),
            probe_interval: Duration::from_secs(5),
            probe_timeout: Duration::from_secs(5),
            api: "127.0.0.1:0".to_owned(),
            worker_timeout: Duration::from_secs(2),
            controller_lease: Duration::from_secs(15),
            scheduler_restart: SchedulerRestart::Resume,
        }
    }
}

impl Default for Report {
    fn default() -> Self {
        Self { dir: PathBuf::from("runs"), slowest: 10 }
    }
}
