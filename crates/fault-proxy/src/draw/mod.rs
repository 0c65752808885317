//! Seeded draws: what happens to a connection is a function of (seed, proxy, number of the connection, toxic), never of
//! time, threads or the order in which connections are served.

mod log;

use std::sync::Arc;

use draws::text;

use crate::toxic::{Direction, Toxic};
use crate::wire::ToxicDraw;

pub(crate) use log::DrawLog;

/// What is drawn for a toxic and the `connection`-th connection that a proxy accepts, from 1: at least 0 and below 1. The toxic
/// hits the connection when this is below its toxicity. The same on every machine and in every version.
///
/// With `mix`, the finaliser of SplitMix64 (its increment included), and `text`, `mix` of the FNV-1a hash of a text's UTF-8, both
/// of 64 bits: `mix(key ^ text(toxic))`, of which the upper 53 bits are the draw, with
/// `key = mix(mix(seed ^ 0x6a09e667f3bcc908) ^ text(proxy) ^ mix(connection))`.
#[must_use]
pub fn toxicity_draw(seed: u64, proxy: &str, connection: u64, toxic: &str) -> f64 {
    Identity::new(seed, proxy, connection).toxicity(toxic)
}

/// Who a connection is, as draws know it.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    key: u64,
    number: u64,
    upstream: Option<Arc<str>>,
    log: Option<Arc<DrawLog>>,
}

impl Identity {
    /// The `connection`-th connection of a proxy, in the order in which it accepted them.
    pub(crate) fn new(seed: u64, proxy: &str, connection: u64) -> Self {
        let key = mix(mix(seed ^ 0x6a09_e667_f3bc_c908) ^ text(proxy) ^ mix(connection));
        Self { key, number: connection, upstream: None, log: None }
    }

    /// It leads there: toxics that are for another upstream never hit it.
    pub(crate) fn leading_to(self, upstream: Arc<str>) -> Self {
        Self { upstream: Some(upstream), ..self }
    }

    /// What is drawn for it is noted there.
    pub(crate) fn noted_in(self, log: Arc<DrawLog>) -> Self {
        Self { log: Some(log), ..self }
    }

    /// Whether a toxic hits the connection; noted, where it is drawn.
    pub(crate) fn is_hit_by(&self, toxic: &Toxic) -> bool {
        if toxic.upstream.is_some() && toxic.upstream.as_deref() != self.upstream.as_deref() {
            return false;
        }
        let draw = self.toxicity(&toxic.name);
        let hits = draw < toxic.toxicity;
        if let Some(log) = &self.log {
            log.note(self.number, &toxic.name, ToxicDraw { draw, toxicity: toxic.toxicity, hits });
        }
        hits
    }

    /// One draw a connection, the same in both directions and whatever else changes: [`toxicity_draw`].
    fn toxicity(&self, toxic: &str) -> f64 {
        unit(mix(self.key ^ text(toxic)))
    }

    /// The draws of a toxic within one direction of the connection.
    pub(crate) fn draws(&self, toxic: &str, direction: Direction) -> Draws {
        Draws { key: mix(mix(self.key ^ text(toxic)) ^ (1 + direction as u64)), next: 0 }
    }
}

/// A stream of draws.
#[derive(Clone, Debug)]
pub(crate) struct Draws {
    key: u64,
    next: u64,
}

impl Draws {
    /// At least 0 and below 1.
    pub(crate) fn unit(&mut self) -> f64 {
        self.next += 1;
        unit(draws::at(self.key, self.next))
    }

    /// One of the whole numbers from `low` up to but not including `high`; `low` where there are none.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        let width = high.saturating_sub(low).max(0);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "widths are milliseconds and bytes"
        )]
        let offset = (self.unit() * width as f64) as i64;
        low + offset
    }
}

const fn mix(x: u64) -> u64 {
    draws::at(x, 0)
}

fn unit(bits: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits are what the number holds")]
    let above = (bits >> 11) as f64;
    above / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed by another program, from the description alone: two versions of ours must agree on them, as a run that is
    /// repeated does not ask which one it was.
    #[test]
    fn draws_never_change() {
        assert_eq!(
            [
                toxicity_draw(7, "shop-0", 1, "slow"),
                toxicity_draw(7, "shop-0", 2, "slow"),
                toxicity_draw(0, "", 1, ""),
                toxicity_draw(u64::MAX, "läden", 10_000, "a shop dies"),
            ],
            [
                0.483_134_290_341_463_5,
                0.468_014_803_336_374_13,
                0.595_527_071_809_163_2,
                0.312_884_813_587_654_1
            ]
        );
        let within = |direction| {
            let mut draws = Identity::new(7, "shop-0", 1).draws("slow", direction);
            [(); 3].map(|()| draws.between(0, 1_000_000))
        };
        assert_eq!(within(Direction::Upstream), [829_805, 710_853, 93_042]);
        assert_eq!(within(Direction::Downstream), [142_367, 200_140, 514_214]);
    }

    #[test]
    fn each_of_the_four_matters() {
        let others = [
            (8, "shop", 1, "slow"),
            (7, "stop", 1, "slow"),
            (7, "shop", 2, "slow"),
            (7, "shop", 1, "slower"),
        ];
        for (seed, proxy, connection, toxic) in others {
            assert_ne!(toxicity_draw(seed, proxy, connection, toxic), toxicity_draw(7, "shop", 1, "slow"));
        }
    }

    #[test]
    fn draws_are_even() {
        let hit = (0..10_000).filter(|number| Identity::new(3, "p", *number).toxicity("t") < 0.3).count();
        assert!((2_800..3_200).contains(&hit), "{hit}");
        let mut draws = Identity::new(3, "p", 1).draws("t", Direction::Upstream);
        let drawn: Vec<i64> = (0..10_000).map(|_| draws.between(-5, 5)).collect();
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&-5), Some(&4)));
        assert_eq!(draws.between(4, 4), 4);
    }
}
