//! What each load thread is told of a phase.

use std::time::{Duration, Instant};

use plan::model::{LoadModel, Phase};
use protocol::v1;

use super::guests::Prepared;
use crate::record::Layout;
use crate::schedule::Share;
use crate::spec::{PhaseScenario, PhaseSpec};

/// What all phases of a run on this worker share.
pub(super) struct Shape<'a> {
    pub(super) segment: &'a v1::Segment,
    pub(super) threads: u32,
    pub(super) weights: &'a [f64],
    pub(super) scenarios: &'a [PhaseParts],
}

/// A scenario's parts in each phase, as the load threads get them.
pub(super) type PhaseParts = Vec<PhaseScenario>;

/// Finds where each scenario's parts are counted, in each phase.
pub(super) fn parts(scenarios: &[Prepared], layout: &Layout) -> Vec<PhaseParts> {
    (0..)
        .zip(scenarios)
        .map(|(index, scenario)| {
            let targets = scenario.spec.targets.len() as u32;
            let part = |phase: &super::guests::PhasePart| PhaseScenario {
                config: phase.config.clone(),
                series: phase
                    .mapped
                    .steps
                    .iter()
                    .flat_map(|step| (0..targets).map(move |endpoint| (*step, endpoint)))
                    .filter_map(|(step, endpoint)| layout.series(index, step, endpoint))
                    .collect(),
                targets,
                checks: phase.mapped.checks.clone(),
                metrics: phase.mapped.metrics.clone(),
            };
            scenario.phases.iter().map(part).collect()
        })
        .collect()
}

impl Shape<'_> {
    /// The phase for each thread.
    ///
    /// Threads beyond this worker's connections or users sit the phase out, because an arrival could never be sent there:
    /// what a thread has to send with must not depend on luck.
    pub(super) fn specs(&self, index: u32, phase: &Phase, t0: Instant, duration: Duration) -> Vec<PhaseSpec> {
        let working = self.working(phase);
        (0..self.threads)
            .map(|thread| self.spec(index, phase, t0, duration, self.share(thread, working)))
            .collect()
    }

    /// The phase as one thread would run it that has all of this worker's load.
    pub(super) fn whole(&self, index: u32, phase: &Phase, t0: Instant, duration: Duration) -> PhaseSpec {
        self.spec(index, phase, t0, duration, self.share(0, 1))
    }

    /// Transports that this worker holds in a phase at most.
    pub(super) fn connections(&self, phase: &Phase) -> u64 {
        self.specs(0, phase, Instant::now(), phase.duration).iter().map(|s| u64::from(s.connections)).sum()
    }

    fn share(&self, thread: u32, threads: u32) -> Share {
        Share::new(self.segment.stripe_count, &self.segment.stripes, thread, threads)
    }

    fn working(&self, phase: &Phase) -> u32 {
        let own = |total: u32| self.share(0, 1).count_below(u64::from(total));
        let limit = own(phase.connections).min(own(phase.max_users)).max(1);
        self.threads.min(u32::try_from(limit).unwrap_or(u32::MAX))
    }

    fn spec(&self, index: u32, phase: &Phase, t0: Instant, duration: Duration, share: Share) -> PhaseSpec {
        let least = u64::from(!share.is_empty() && phase.model != LoadModel::None);
        let own =
            |total: u32| u32::try_from(share.count_below(u64::from(total)).max(least)).unwrap_or(u32::MAX);
        let users = own(phase.max_users);
        // Whoever shares the run may have to take over what a lost worker had: with as much again it can stand in for
        // one of two.
        let capacity =
            if self.segment.stripe_count > 1 { users.saturating_mul(2).min(phase.max_users) } else { users };
        PhaseSpec {
            phase: index,
            t0,
            duration,
            model: phase.model.clone(),
            connections: own(phase.connections),
            total_connections: phase.connections,
            users,
            total_users: phase.max_users,
            capacity: capacity.max(users),
            max_waiting: share.count_below(phase.max_waiting),
            share,
            weights: self.weights.to_vec(),
            scenarios: self
                .scenarios
                .iter()
                .filter_map(|phases| phases.get(index as usize).cloned())
                .collect(),
        }
    }
}
