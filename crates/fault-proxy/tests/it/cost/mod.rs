//! What the proxy costs and how exact its times are: measured and printed by `cargo xtask bench fault-proxy`, never judged
//! by a test. Direct and through the proxy take turns within one run, because the machine is not the same from one to the
//! next; beside each figure stands how much of the machine had others, whose share it must be read with.

mod load;
mod throughput;
mod times;
mod usage;

use std::io::Write as _;

/// Pairs of a measurement: direct and through the proxy, in the order A B B A, so that what drifts harms neither. The half of
/// them counts during which others used least of the machine.
const PAIRS: usize = 16;

fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
