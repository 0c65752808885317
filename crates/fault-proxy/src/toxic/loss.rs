//! `packet_loss`.

use tokio::time::Instant;

use super::behaviour::{Behaviour, Queue, Step};
use super::{Attributes, PacketLoss};
use crate::draw::Draws;

/// Drops chunks, in bursts where losses are correlated. What TCP would send again is gone: this damages the stream.
#[derive(Debug)]
pub(super) struct Losses {
    loss: PacketLoss,
    lost_last: bool,
}

impl Losses {
    pub(super) const fn new(loss: PacketLoss) -> Self {
        Self { loss, lost_last: false }
    }
}

impl Behaviour for Losses {
    fn step(&mut self, _now: Instant, input: &mut Queue, room: bool, draws: &mut Draws) -> Step {
        if !room {
            return Step::Idle;
        }
        let Some(chunk) = input.pop() else {
            return input.ended().map_or(Step::Idle, Step::End);
        };
        let more = if self.lost_last { self.loss.correlation } else { 0.0 };
        self.lost_last = draws.unit() < self.loss.loss_rate + more;
        if self.lost_last { Step::Drop } else { Step::Pass(chunk) }
    }

    fn change(&mut self, attributes: &Attributes, _now: Instant) {
        if let Attributes::PacketLoss(loss) = attributes {
            self.loss = loss.clone();
        }
    }
}
