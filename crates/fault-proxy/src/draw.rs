//! Seeded draws: what happens to a connection is a function of (seed, proxy, number of the connection, toxic), never of
//! time, threads or the order in which connections are served.

use draws::text;

use crate::toxic::Direction;

/// Who a connection is, as draws know it.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    key: u64,
}

impl Identity {
    /// The `connection`-th connection of a proxy, in the order in which it accepted them.
    pub(crate) fn new(seed: u64, proxy: &str, connection: u64) -> Self {
        Self { key: mix(mix(seed ^ 0x6a09_e667_f3bc_c908) ^ text(proxy) ^ mix(connection)) }
    }

    /// At least 0 and below 1: a toxic hits the connection when this is below its toxicity. One draw a connection, the same
    /// in both directions and whatever else changes.
    pub(crate) fn toxicity(&self, toxic: &str) -> f64 {
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

    #[test]
    fn draws_of_a_seed_never_change() {
        let identity = Identity::new(7, "shop", 1);
        let drawn =
            (identity.toxicity("slow"), identity.draws("slow", Direction::Downstream).between(0, 1_000_000));
        assert_eq!(drawn, (Identity::new(7, "shop", 1).toxicity("slow"), drawn.1));
        assert_ne!(identity.toxicity("slow"), identity.toxicity("slower"));
        assert_ne!(identity.toxicity("slow"), Identity::new(8, "shop", 1).toxicity("slow"));
        assert_ne!(identity.toxicity("slow"), Identity::new(7, "shop", 2).toxicity("slow"));
        assert_ne!(identity.toxicity("slow"), Identity::new(7, "stop", 1).toxicity("slow"));
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
