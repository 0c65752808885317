//! Which part of the run is this worker's, and how that changes while a phase runs.

use std::time::Duration;

use protocol::v1;

use super::active::Active;
use super::phases::Shape;
use super::running::{Running, running};
use crate::spec::{Assignment, EngineCommand, PhaseSpec};

/// By how much a change must lie in the future for all load threads to hear of it in time: they look each 10 ms.
const IN_TIME: Duration = Duration::from_millis(20);

impl Active {
    /// From an offset on, another segment of the running phase is this worker's own. The same command again changes
    /// nothing.
    pub(super) fn assign(&mut self, command: &v1::AssignSegment) -> Result<(), String> {
        let v1::AssignSegment { phase: index, at_offset_ns, segment, epoch, .. } = command;
        let Some(segment) = segment else { return Err("the command names no segment".to_owned()) };
        if *epoch <= self.epoch {
            let same = *epoch == self.epoch && self.setting.segment == *segment;
            return if same { Ok(()) } else { Err(format!("epoch {epoch} is over: {} is here", self.epoch)) };
        }
        let phase = running(&mut self.phase, *index)?;
        let passed = phase.t0.elapsed() + IN_TIME;
        if passed > Duration::from_nanos(*at_offset_ns) {
            return Err(format!(
                "offset {} ms has passed: it is {} ms",
                at_offset_ns / 1_000_000,
                passed.as_millis()
            ));
        }
        let Some(planned) = self.setting.phases.get(*index as usize) else {
            return Err(format!("phase {index} does not exist"));
        };
        let shape = Shape {
            segment,
            threads: self.threads.len() as u32,
            weights: &self.setting.weights,
            scenarios: &self.setting.parts,
        };
        let specs = shape.specs(*index, planned, phase.t0, planned.duration);
        let whole = shape.whole(*index, planned, phase.t0, planned.duration);
        for ((thread, spec), capacity) in self.threads.iter().zip(specs).zip(&phase.capacity) {
            let assignment = assignment(*epoch, &spec, *capacity);
            thread.send(EngineCommand::Reassign { phase: *index, at_offset_ns: *at_offset_ns, assignment });
        }
        phase.wanted.reassign(*at_offset_ns, &assignment(*epoch, &whole, u32::MAX));
        phase.assigned = *epoch;
        phase.nothing_from_ns = segment.stripes.is_empty().then_some(*at_offset_ns);
        phase.cut_off = false;
        self.epoch = *epoch;
        self.setting.segment = segment.clone();
        Ok(())
    }

    /// The lease ended: what is due after it is not wanted of this worker any more. A thread that had not heard of the
    /// latest assignment when it said so has heard of it since.
    pub(super) fn cut_off(&mut self, index: u32, epoch: u32, offset_ns: u64) {
        let current = |phase: &&mut Running| phase.index == index && phase.assigned == epoch;
        let Some(phase) = self.phase.as_mut().filter(current) else { return };
        if !std::mem::replace(&mut phase.cut_off, true) {
            tracing::warn!(
                phase = index,
                offset_ns,
                "cut off from the bus: nothing more is sent until told anew"
            );
            phase.wanted.reassign(offset_ns, &Assignment::nothing(self.epoch));
        }
    }
}

fn assignment(epoch: u32, spec: &PhaseSpec, capacity: u32) -> Assignment {
    Assignment {
        epoch,
        share: spec.share.clone(),
        connections: spec.connections,
        users: spec.users.min(capacity),
    }
}

impl Running {
    /// Whether arrivals of this phase are to be sent by this worker.
    pub(super) const fn sends(&self) -> bool {
        !self.over && !self.ending && !self.cut_off
    }
}
