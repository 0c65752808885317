//! A made-up run whose chaos phase is broken by hand: what a test says happened, in its order.

use protocol::event::{Entry, Event, Verdict};
use protocol::faults::{ActionOutcome, CapabilityView, Issue, PlannedFault};
use protocol::v1;

use super::{SECOND, outcome, run};
use crate::RunData;

/// When the chaos phase begins, milliseconds from the run's start.
pub(super) const CHAOS_MS: u64 = 24_700;
/// Its index.
pub(super) const CHAOS: u32 = 6;
/// Requests wanted in each of its seconds.
pub(super) const RATE: u64 = 300;

/// The run while it is told.
pub(super) struct Broken {
    data: RunData,
    seconds: u64,
}

/// A chaos phase of so many seconds, in which everything is answered within 3 ms.
pub(super) fn broken(seconds: u64) -> Broken {
    let mut data = run();
    data.history.truncate(data.history.len() - 2);
    for entry in &mut data.history {
        if let Event::PhaseStarted { phase: CHAOS, duration_ms, rate, .. } = &mut entry.event {
            (*duration_ms, *rate) = (seconds * 1_000, Some(300.0));
        }
    }
    let phase = data.series.phases.iter_mut().find(|phase| phase.phase == CHAOS).unwrap();
    phase.seconds = (0..seconds).map(healthy).collect();
    Broken { data, seconds }
}

fn healthy(second: u64) -> v1::Second {
    v1::Second {
        offset_ns: second * SECOND,
        length_ns: SECOND,
        wanted_rate: 300.0,
        arrivals: Some(counts(RATE, 0)),
        good: RATE,
        latency_us: [1_000, 2_000, 3_000, 5_000, 9_000, 12_000 + second % 7 * 300].to_vec(),
        service_us: [1_000, 2_000, 2_500, 4_000, 8_000, 11_000].to_vec(),
        queue_us: vec![0; 6],
        ..v1::Second::default()
    }
}

fn counts(answered: u64, failed: u64) -> v1::ArrivalCounts {
    v1::ArrivalCounts { scheduled: RATE, started: RATE, answered, failed, ..v1::ArrivalCounts::default() }
}

/// A fault of the plan, its offset and length in milliseconds.
pub(super) fn fault(id: &str, recipe: &str, at_ms: u64, duration_ms: u64) -> PlannedFault {
    PlannedFault {
        fault: id.into(),
        recipe: recipe.into(),
        target: "shop".into(),
        phase: CHAOS,
        at_ms,
        duration_ms,
        victims: if recipe == "cpu" { Vec::new() } else { vec!["shop-a".into()] },
        parameters: match recipe {
            "latency" => "200 ms ± 50 ms, both directions".into(),
            "cpu" => "2 cores".into(),
            _ => String::new(),
        },
        stop: "error_rate > 50%".into(),
        by: "plan".into(),
    }
}

impl Broken {
    /// Something happened so many milliseconds into the chaos phase.
    pub(super) fn at(&mut self, ms: u64, event: Event) -> &mut Self {
        let start = self.data.history[0].at_unix_ns;
        let at = i64::try_from((CHAOS_MS + ms) * 1_000_000).unwrap();
        self.data.history.push(Entry {
            sequence: 0,
            at_unix_ns: start + at,
            producer: "chaos".into(),
            event,
        });
        self
    }

    /// The schedule.
    pub(super) fn plan(&mut self, faults: &[&PlannedFault]) -> &mut Self {
        let capability = |recipe: &str, backend: &str, reason: &str| CapabilityView {
            recipe: recipe.into(),
            backend: backend.into(),
            available: reason.is_empty(),
            reason: reason.into(),
        };
        let capabilities = vec![
            capability("kill", "process driver", ""),
            capability("latency", "fault proxy", ""),
            capability(
                "clock-skew",
                "fault agent",
                "libfaketime is not installed; install the package faketime",
            ),
        ];
        let faults = faults.iter().map(|fault| (*fault).clone()).collect();
        self.at(0, Event::FaultsPlanned { faults, capabilities })
    }

    /// It begins and is there.
    pub(super) fn inject(&mut self, fault: &PlannedFault) -> &mut Self {
        self.at(fault.at_ms, Event::FaultBeginning { fault: fault.clone() });
        let injected = Event::FaultInjected {
            fault: fault.fault.clone(),
            backend: "fault agent".into(),
            seen: "as it should be".into(),
        };
        self.at(fault.at_ms + 4, injected)
    }

    /// It is gone.
    pub(super) fn end(&mut self, fault: &PlannedFault) -> &mut Self {
        let ended = Event::FaultEnded {
            fault: fault.fault.clone(),
            how: "its time is over".into(),
            held_ms: Some(fault.duration_ms),
            undo_ms: Some(12),
            verified: "the process runs".into(),
        };
        self.at(fault.at_ms + fault.duration_ms, ended)
    }

    /// It comes and goes.
    pub(super) fn whole(&mut self, fault: &PlannedFault) -> &mut Self {
        self.inject(fault).end(fault)
    }

    /// What happened to each request of some seconds: answered well, and failed.
    pub(super) fn harm(&mut self, seconds: std::ops::Range<u64>, answered: u64, failed: u64) -> &mut Self {
        for second in self.chaos().seconds.iter_mut().filter(|s| seconds.contains(&(s.offset_ns / SECOND))) {
            second.good = answered;
            second.errors = failed;
            second.arrivals = Some(counts(answered, failed));
            second.latency_us[2] *= 4;
            second.latency_us[3] *= 30;
        }
        self
    }

    /// The series of the chaos phase.
    pub(super) fn chaos(&mut self) -> &mut v1::PhaseSeries {
        self.data.series.phases.iter_mut().find(|phase| phase.phase == CHAOS).unwrap()
    }

    /// An incident is found so long after the fault's beginning.
    pub(super) fn found(&mut self, incident: &str, fault: Option<&PlannedFault>, at_ms: u64) -> &mut Self {
        let opened = Event::IncidentOpened {
            incident: incident.into(),
            target: "shop".into(),
            issue: Issue::ComponentFailure,
            instance: Some("shop-a".into()),
            seen: "the process ended: signal 9".into(),
            fault: fault.map(|fault| fault.fault.clone()),
            detected_after_ms: fault.map(|fault| at_ms - fault.at_ms),
        };
        self.at(at_ms, opened)
    }

    /// It was mended and confirmed.
    pub(super) fn closed(
        &mut self,
        incident: &str,
        fault: Option<&PlannedFault>,
        found_ms: u64,
        recovered_ms: u64,
        validated_ms: u64,
    ) -> &mut Self {
        let acted = Event::RecoveryActed {
            incident: incident.into(),
            target: "shop".into(),
            action: "restart".into(),
            outcome: ActionOutcome::Done,
            detail: "shop-a runs again (pid 4711)".into(),
            took_ms: recovered_ms / 2,
        };
        self.at(found_ms + recovered_ms / 2, acted);
        let closed = Event::IncidentClosed {
            incident: incident.into(),
            target: "shop".into(),
            how: "restart".into(),
            fault: fault.map(|fault| fault.fault.clone()),
            recovered_after_ms: recovered_ms,
            validated_after_ms: validated_ms,
        };
        self.at(found_ms + recovered_ms + validated_ms, closed)
    }

    /// The phase and the run end.
    pub(super) fn over(&mut self) -> RunData {
        let length = self.seconds * 1_000;
        self.at(
            length,
            Event::PhaseEnded {
                phase: CHAOS,
                name: "chaos".into(),
                lasted_ms: length,
                objectives: vec![outcome("resilience", protocol::event::OutcomeResult::Pass)],
                expectations: vec![],
                thresholds: vec![],
                validity: vec![],
                decision: "continue".into(),
                reason: String::new(),
            },
        );
        let ended = Event::RunEnded {
            verdict: Verdict::Passed,
            exit_code: 0,
            reasons: Vec::new(),
            thresholds: Vec::new(),
        };
        self.at(length + 300, ended);
        let mut data = self.data.clone();
        data.history.sort_by_key(|entry| entry.at_unix_ns);
        for (sequence, entry) in (1..).zip(&mut data.history) {
            entry.sequence = sequence;
        }
        data
    }
}
