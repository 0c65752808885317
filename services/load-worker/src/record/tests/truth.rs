//! Percentiles of a seeded set of times, recorded by several threads in several intervals, are those of the set.

use super::*;

const THREADS: u64 = 3;
const INTERVALS: u64 = 5;
const EACH: u64 = 20_000;

/// A name, what was reported, and how its true value follows from a time.
type Reported<'a> = (&'static str, &'a Hist, fn(u64) -> u64);

/// 10 µs to 100 s, evenly on a logarithmic scale, in microseconds.
fn time(n: u64) -> u64 {
    #[expect(clippy::cast_precision_loss, reason = "a draw")]
    let part = draws::at(42, n) as f64 / u64::MAX as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 10^8")]
    let time = (10.0 * 1e7_f64.powf(part)) as u64;
    time
}

#[test]
fn percentiles_are_those_of_what_was_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, mut recorders) = spool(dir.path(), u32::try_from(THREADS).unwrap());
    recorders.iter_mut().for_each(|recorder| recorder.begin_phase(0, 0));
    let (mut truth, mut batches) = (Vec::new(), Vec::new());
    for interval in 1..=INTERVALS {
        for recorder in &mut recorders {
            for _ in 0..EACH {
                let us = time(truth.len() as u64);
                truth.push(us);
                let timing =
                    Timing { latency_us: us, service_us: us / 2, queue_us: us / 4, first_byte_us: us / 3 };
                recorder.started(0);
                recorder.answered(0, &timing, 200, 1, true);
                recorder.send_lag(us * 1_000);
            }
        }
        batches.push(flip(&spool, &mut recorders, interval * 1_000_000_000));
    }
    let mut send_lag = Hist::nanos();
    for thread in batches.iter().flat_map(|batch| &batch.threads) {
        send_lag.absorb(Hist::decode(thread.send_lag.as_ref().unwrap()).unwrap());
    }
    let merged = merged(&batches);
    truth.sort_unstable();
    let reported: [Reported<'_>; 5] = [
        ("latency", &merged.latency, |us| us),
        ("service", &merged.service, |us| us / 2),
        ("queue", &merged.queue, |us| us / 4),
        ("first byte", &merged.first_byte, |us| us / 3),
        ("send lag", &send_lag, |us| us * 1_000),
    ];
    for (name, hist, of) in reported {
        assert_eq!(hist.len(), THREADS * INTERVALS * EACH, "{name}");
        for q in [0.1, 50.0, 90.0, 95.0, 99.0, 99.9, 99.99] {
            let true_value = of(truth[usize::try_from(series::rank(q, hist.len())).unwrap() - 1]);
            let found = hist.percentile(q).unwrap();
            // The highest value that is not told apart from the true one: never below it, within 1 in 1 024 above.
            assert!(
                (true_value..=true_value + true_value / 1_024).contains(&found),
                "p{q} of {name}: {found}, in truth {true_value}"
            );
        }
        let (most, found) = (of(*truth.last().unwrap()), hist.max().unwrap());
        assert!((most..=most + most / 1_024).contains(&found), "max of {name}: {found}, in truth {most}");
    }
}
