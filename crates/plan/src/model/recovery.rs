//! `[recovery.*]` and `[recovery-budgets]`: how targets are brought back, and how fast.

use std::time::Duration;

use serde::Serialize;

use super::Plan;

impl Plan {
    /// Whether a process is a target's backup, which is started when failover needs it and not with the run.
    #[must_use]
    pub fn is_backup(&self, process: &str) -> bool {
        let backups = self.recovery.values().filter_map(|recovery| recovery.backup.as_ref());
        backups.filter_map(|backup| backup.process.as_deref()).any(|name| name == process)
    }
}

/// How a target is watched and brought back.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recovery {
    /// What is tried, in this order; each at most once. Empty = it is only watched.
    pub strategy: Vec<Strategy>,
    /// Where failover leads; there when `strategy` has it.
    pub backup: Option<Backup>,
    /// Interval of probes.
    pub interval: Duration,
    /// Deadline of a probe; at most `interval`.
    pub timeout: Duration,
    /// Failed probes in a row that open an incident; at least 1.
    pub fall: u32,
    /// Good probes in a row that close it; at least 1.
    pub rise: u32,
    /// Restarts within a run at most.
    pub restarts: u32,
    /// Share of the wanted rate that stays when load is shed; over 0, below 1.
    pub shed: f64,
}

impl Recovery {
    /// What is done where the plan says no more than the target's name.
    #[must_use]
    pub fn of_target(has_platform: bool) -> Self {
        Self {
            strategy: vec![if has_platform { Strategy::Restart } else { Strategy::ShedLoad }],
            backup: None,
            interval: Duration::from_secs(5),
            // With probes a second apart, a target that hangs is to be found within two: one interval and this.
            timeout: Duration::from_millis(600),
            fall: 1,
            rise: 2,
            restarts: 5,
            shed: 0.5,
        }
    }
}

/// One way of bringing a target back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Its instances are started again; needs a platform.
    Restart,
    /// Load goes to the backup; needs one.
    Failover,
    /// Less load is sent.
    ShedLoad,
}

impl Strategy {
    /// As the plan writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Failover => "failover",
            Self::ShedLoad => "shed-load",
        }
    }
}

/// Where failover leads.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Backup {
    /// Base URL.
    pub url: String,
    /// The process of the plan that serves it, started when it is needed; `None` = it is there already.
    pub process: Option<String>,
}

/// How long recovery may take (requirement R7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Budgets {
    /// From the fault to the incident.
    pub detection: Duration,
    /// From the incident to a healthy target.
    pub recovery: Duration,
    /// From a healthy target to one that is validated.
    pub validation: Duration,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            detection: Duration::from_secs(30),
            recovery: Duration::from_secs(2 * 60),
            validation: Duration::from_secs(5 * 60),
        }
    }
}
