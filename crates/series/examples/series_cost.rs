//! What one series of an interval costs: `cargo run --release -p series --example series_cost`.
#![expect(clippy::print_stdout, reason = "an example talks to its terminal")]

use std::hint::black_box;
use std::time::Instant;

use series::{Hist, Merged};

fn main() {
    for values in [100, 5_000, 50_000] {
        let merged = interval(values);
        let message = merged.to_proto(0, 0, 0);
        let bytes: usize = [&message.latency, &message.service, &message.queue, &message.first_byte]
            .iter()
            .map(|h| size(h))
            .sum();
        let mut sum = interval(values);
        let mut rounds = Vec::new();
        rounds.push(("decode a series (4 histograms)", time(|| _ = black_box(Merged::from_proto(&message)))));
        rounds.push(("add a series to a sum", time(|| sum.add(black_box(&merged)))));
        rounds.push(("encode a series", time(|| _ = black_box(merged.to_proto(0, 0, 0)))));
        let qs = [50.0, 90.0, 95.0, 99.0, 99.9, 100.0];
        rounds.push((
            "six percentiles of a histogram",
            time(|| _ = black_box(merged.latency.percentiles(&qs))),
        ));
        println!("{values} values, {bytes} bytes in 4 histograms");
        for (what, nanos) in rounds {
            println!("  {what}: {:.1} µs", nanos / 1e3);
        }
    }
    let mut hist = Hist::micros();
    let nanos = time(|| hist.record(black_box(1_234)));
    println!("record a value: {nanos:.1} ns");
}

fn size(histogram: &Option<protocol::v1::Histogram>) -> usize {
    histogram.as_ref().map_or(0, |histogram| histogram.v2_deflate.len())
}

/// Latencies around 5 ms with a long tail.
fn interval(values: u64) -> Merged {
    let mut merged = Merged::new();
    let mut random = 7_u64;
    for _ in 0..values {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let draw = (random >> 40) as f64 / (1_u64 << 24) as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a few thousand to a million"
        )]
        let service = (2_000.0 - 3_000.0 * (1.0 - draw).ln()) as u64;
        merged.service.record(service);
        merged.queue.record(service % 97);
        merged.latency.record(service + service % 97);
        merged.first_byte.record(service - service / 10);
    }
    merged.counts.answered = values;
    merged
}

/// Nanoseconds a call, the best of five batches.
fn time(mut call: impl FnMut()) -> f64 {
    let batch = || {
        let begin = Instant::now();
        let mut calls = 0_u32;
        while begin.elapsed().as_millis() < 100 {
            for _ in 0..16 {
                call();
            }
            calls += 16;
        }
        begin.elapsed().as_nanos() as f64 / f64::from(calls)
    };
    std::iter::repeat_with(batch).take(5).fold(f64::INFINITY, f64::min)
}
