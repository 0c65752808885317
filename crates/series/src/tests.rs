//! Properties and known values.

use plan::threshold::{Measure, Op, Threshold};
use proptest::prelude::*;
use protocol::v1;

use crate::{Hist, Merged, error_share, evaluate, hdr, holds, latency_percentile, rank};

/// The definition, on all values: the smallest with at least `ceil(q / 100 × n)` at or below it.
fn reference(sorted: &[u64], q: f64) -> u64 {
    sorted[usize::try_from(rank(q, sorted.len() as u64)).unwrap() - 1]
}

fn within_resolution(found: u64, truth: u64) -> bool {
    if truth < 2_048 {
        found == truth
    } else {
        found >= truth && (found - truth) as f64 <= truth as f64 / 1_000.0
    }
}

fn of(values: &[u64]) -> Hist {
    let mut hist = Hist::micros();
    for &value in values {
        hist.record(value);
    }
    hist
}

fn round_trip(hist: &Hist) -> Hist {
    Hist::decode(&hist.encode()).unwrap()
}

/// Values as they occur: mostly small, some over the whole range and beyond.
fn values() -> impl Strategy<Value = Vec<u64>> {
    let value = prop_oneof![
        4 => 0..5_000_u64,
        2 => 0..10_000_000_u64,
        1 => 0..=3_600_000_000_u64,
        1 => 3_600_000_001..u64::MAX / 2,
    ];
    prop::collection::vec(value, 0..300)
}

proptest! {
    #[test]
    fn merging_encoded_parts_is_the_histogram_of_all_values(parts in prop::collection::vec(values(), 0..6)) {
        let whole = of(&parts.concat());
        let mut forward = Hist::micros();
        for part in &parts {
            forward.add(&round_trip(&of(part)));
        }
        let mut backward = Hist::micros();
        for part in parts.iter().rev() {
            backward.absorb(round_trip(&of(part)));
        }
        prop_assert_eq!(&forward, &whole);
        prop_assert_eq!(&backward, &whole);
        prop_assert_eq!(forward.encode(), whole.encode());
        prop_assert_eq!(forward.len(), parts.concat().len() as u64);
        let beyond = parts.concat().iter().filter(|value| **value > 3_600_000_000).count();
        prop_assert_eq!(forward.clamped(), beyond as u64);
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_values(values in values(), q in 0.0..=100.0_f64) {
        prop_assume!(!values.is_empty());
        let hist = of(&values);
        let mut sorted: Vec<u64> = values.iter().map(|value| (*value).min(3_600_000_000)).collect();
        sorted.sort_unstable();
        for q in [0.0, q, 50.0, 99.0, 99.9, 100.0] {
            let (found, truth) = (hist.percentile(q).unwrap(), reference(&sorted, q));
            prop_assert!(within_resolution(found, truth), "p({q}) = {found}, truth {truth}");
            prop_assert_eq!(hist.percentiles(&[q])[0], found);
        }
        prop_assert!(within_resolution(hist.max().unwrap(), *sorted.last().unwrap()));
        prop_assert!(hist.min().unwrap() <= sorted[0]);
        prop_assert_eq!(hist.percentile(100.0), hist.max());
    }

    #[test]
    fn lost_operations_are_infinitely_slow(values in values(), lost in 0..400_u64, q in 0.0..=100.0_f64) {
        let merged = Merged { latency: of(&values), ..Merged::new() };
        let mut sorted: Vec<f64> = values.iter().map(|value| (*value).min(3_600_000_000) as f64).collect();
        sorted.extend((0..lost).map(|_| f64::INFINITY));
        sorted.sort_by(f64::total_cmp);
        let found = latency_percentile(&merged, lost, q);
        if sorted.is_empty() {
            prop_assert!(found.is_nan());
        } else {
            let truth = sorted[usize::try_from(rank(q, sorted.len() as u64)).unwrap() - 1];
            prop_assert_eq!(found.is_infinite(), truth.is_infinite());
            if truth.is_finite() {
                prop_assert!(found >= truth && found <= truth * 1.001);
            }
        }
    }

    #[test]
    fn cumulative_counts_are_counts_at_most(values in values(), mut bounds in prop::collection::vec(0..5_000_000_u64, 0..12)) {
        bounds.sort_unstable();
        let lowest = |value: &u64| hdr::value_at(hdr::index_of((*value).min(hdr::HIGHEST_US)));
        let at_most = |bound: &u64| values.iter().filter(|value| lowest(value) <= *bound).count() as u64;
        let expected: Vec<u64> = bounds.iter().map(at_most).collect();
        prop_assert_eq!(of(&values).cumulative(&bounds), expected);
    }

    #[test]
    fn what_a_message_says_is_what_its_histogram_said(values in values(), q in 0.0..=100.0_f64, bound in 0..5_000_000_u64) {
        let hist = of(&values);
        let read = round_trip(&hist);
        prop_assert_eq!(&read, &hist);
        prop_assert_eq!((read.len(), read.min(), read.max()), (hist.len(), hist.min(), hist.max()));
        prop_assert_eq!((read.mean(), read.clamped()), (hist.mean(), hist.clamped()));
        prop_assert_eq!(read.percentiles(&[q, 100.0]), hist.percentiles(&[q, 100.0]));
        prop_assert_eq!(read.cumulative(&[bound]), hist.cumulative(&[bound]));
        prop_assert_eq!(read.encode(), hist.encode());
    }

    #[test]
    fn values_and_bytes_are_those_of_the_library(values in values(), q in 0.0..=100.0_f64) {
        use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};
        prop_assume!(!values.is_empty());
        for top in [hdr::HIGHEST_US, hdr::HIGHEST_NS] {
            let mut ours = if top == hdr::HIGHEST_US { Hist::micros() } else { Hist::nanos() };
            let mut theirs = hdrhistogram::Histogram::<u64>::new_with_bounds(1, top, 3).unwrap();
            for (n, value) in (1..).zip(&values) {
                ours.record_n(*value, n);
                theirs.record_n((*value).min(top), n).unwrap();
            }
            let n = ours.len();
            prop_assert_eq!((n, ours.min().unwrap(), ours.max().unwrap()), (theirs.len(), theirs.min(), theirs.max().min(top)));
            // One divides at the end, the other each part.
            let (mean, other) = (ours.mean().unwrap(), theirs.mean());
            prop_assert!((mean - other).abs() <= other * 1e-9, "{} and {}", mean, other);
            for q in [q, 50.0, 99.9, 100.0] {
                // The library rounds `share × n` up: half a rank is far more than the error of the multiplication.
                let share = (rank(q, n) as f64 - 0.5) / n as f64;
                prop_assert_eq!(ours.percentile(q).unwrap(), theirs.value_at_quantile(share).min(top));
            }
            let mut bytes = Vec::new();
            V2DeflateSerializer::new().serialize(&theirs, &mut bytes).unwrap();
            prop_assert_eq!(&ours.encode().v2_deflate, &bytes);
            let read: hdrhistogram::Histogram<u64> =
                Deserializer::new().deserialize(&mut ours.encode().v2_deflate.as_slice()).unwrap();
            prop_assert_eq!(read, theirs);
        }
    }

    #[test]
    fn damaged_bytes_are_an_error(values in values(), at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        prop_assume!(!values.is_empty());
        let message = of(&values).encode();
        let at = at.index(message.v2_deflate.len());
        let mut flipped = message.clone();
        flipped.v2_deflate[at] ^= 1 << bit;
        // Bits of the DEFLATE stream that mean nothing may flip; what was counted may not.
        if let Ok(hist) = Hist::decode(&flipped) {
            prop_assert_eq!(hist, of(&values));
        }
        let mut short = message;
        short.v2_deflate.truncate(at);
        prop_assert!(short.v2_deflate.is_empty() || Hist::decode(&short).is_err());
    }

    #[test]
    fn counts_made_up_by_a_stranger_are_no_panic(values in values(), at in any::<prop::sample::Index>(), byte: u8) {
        use std::io::{Read as _, Write as _};
        prop_assume!(!values.is_empty());
        let mut plain = Vec::new();
        flate2::read::ZlibDecoder::new(&of(&values).encode().v2_deflate[8..]).read_to_end(&mut plain).unwrap();
        let at = at.index(plain.len());
        plain[at] = byte;
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&plain).unwrap();
        let body = encoder.finish().unwrap();
        let head = [0x1c84_9314_u32.to_be_bytes(), u32::try_from(body.len()).unwrap().to_be_bytes()].concat();
        if let Ok(hist) = Hist::decode(&v1::Histogram { v2_deflate: [head, body].concat(), clamped: 0 }) {
            let _ = (hist.percentile(99.0), hist.max(), hist.mean());
        }
    }
}

#[test]
fn rank_is_exact_where_floating_point_is_not() {
    // 0.999 × 1 000 is 999.0000000000001 in binary.
    assert_eq!(rank(99.9, 1_000), 999);
    assert_eq!(rank(99.9, 1_001), 1_000);
    assert_eq!(rank(0.0, 10), 1);
    assert_eq!(rank(100.0, 10), 10);
    assert_eq!(rank(50.0, 10), 5);
    assert_eq!(rank(50.0, 11), 6);
    assert_eq!(rank(99.0, 0), 1);
    assert_eq!(rank(f64::NAN, 10), 1);
    assert_eq!(rank(99.999_999, 100_000_000), 99_999_999);
    assert_eq!(rank(100.0, u64::MAX), u64::MAX);
}

#[test]
fn zero_is_a_value_and_an_hour_is_the_top() {
    let mut hist = Hist::micros();
    hist.record_n(0, 3);
    hist.record_n(7_200_000_000, 2);
    assert_eq!((hist.min(), hist.max(), hist.len(), hist.clamped()), (Some(0), Some(3_600_000_000), 5, 2));
    assert_eq!(hist.percentile(60.0), Some(0));
    assert_eq!(hist.percentile(60.1), Some(3_600_000_000));
    let again = round_trip(&hist);
    assert_eq!(again, hist);
    assert_eq!(again.clamped(), 2);
}

#[test]
fn nanoseconds_keep_their_range_through_a_message() {
    let mut hist = Hist::nanos();
    hist.record(3_000_000_000_000);
    hist.record(12);
    let again = round_trip(&hist);
    assert_eq!(again, hist);
    assert_eq!((again.min(), again.clamped()), (Some(12), 0));
    assert!(again.max().unwrap() >= 3_000_000_000_000);
    let mut sum = Hist::nanos();
    sum.add(&again);
    assert_eq!(sum, hist);
}

#[test]
fn an_empty_histogram_has_no_bytes_and_no_percentile() {
    let mut hist = Hist::nanos();
    assert_eq!(hist.encode(), v1::Histogram::default());
    assert_eq!(hist.percentile(50.0), None);
    hist.record(5);
    hist.reset();
    assert!(hist.is_empty());
    assert_eq!((hist.min(), hist.max(), hist.mean(), hist.percentile(50.0)), (None, None, None, None));
    assert_eq!(hist.percentiles(&[50.0, 99.0]), vec![0, 0]);
    assert_eq!(hist.encode(), v1::Histogram::default());
    // No bytes say no unit: they may be added to nanoseconds too.
    let mut sum = Hist::nanos();
    sum.add(&Hist::decode(&v1::Histogram::default()).unwrap());
    assert!(sum.is_empty());
}

#[test]
fn a_histogram_of_another_range_is_refused() {
    use hdrhistogram::serialization::{Serializer as _, V2DeflateSerializer};
    let mut foreign = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 10_000, 2).unwrap();
    foreign.record(5).unwrap();
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(&foreign, &mut bytes).unwrap();
    let error = Hist::decode(&v1::Histogram { v2_deflate: bytes, clamped: 0 }).unwrap_err();
    assert!(error.to_string().contains("1 to 10000 with 2 digits"), "{error}");
}

fn series() -> v1::Series {
    let mut merged = Merged::new();
    for value in 1..=90 {
        merged.latency.record(value * 1_000);
        merged.service.record(value * 10);
        merged.queue.record(value);
    }
    merged.counts.started = 110;
    merged.counts.answered = 90;
    merged.counts.failed = 4;
    merged.counts.good = 85;
    merged.counts.bad = 8;
    merged.counts.bytes_received = 12;
    merged.statuses.insert(200, 83);
    merged.statuses.insert(404, 7);
    merged.errors.insert("timeout".into(), 4);
    merged.checks.insert(0, crate::CheckCounts { passed: 85, failed: 5 });
    merged.checks.insert(3, crate::CheckCounts { passed: 10, failed: 0 });
    let mut own = Hist::micros();
    own.record(1_500);
    merged.observations.insert(2, own);
    merged.to_proto(1, 2, 3)
}

fn aggregate() -> v1::Aggregate {
    v1::Aggregate {
        from_offset_ns: 1_000_000_000,
        to_offset_ns: 11_000_000_000,
        wanted_rate: 12.0,
        arrivals: Some(v1::ArrivalCounts { scheduled: 120, dropped: 6, started: 114, ..Default::default() }),
        total: Some(series()),
        ..Default::default()
    }
}

fn threshold(measure: Measure) -> Threshold {
    Threshold {
        measure,
        op: Op::Less,
        limit: 1.0,
        over: None,
        abort: false,
        delay: std::time::Duration::ZERO,
        scenario: None,
        step: None,
        target: None,
    }
}

#[test]
fn a_series_survives_the_way_through_merged() {
    let series = series();
    let once = Merged::from_proto(&series).unwrap();
    assert_eq!(once.to_proto(1, 2, 3), series);
    let mut twice = Merged::new();
    twice.add_proto(&series).unwrap();
    twice.add(&once);
    assert_eq!(twice.counts.answered, 180);
    assert_eq!(twice.statuses[&404], 14);
    assert_eq!(twice.errors["timeout"], 8);
    assert_eq!(twice.checks[&0], crate::CheckCounts { passed: 170, failed: 10 });
    assert_eq!(twice.observations[&2].len(), 2);
    assert_eq!(twice.latency.len(), 180);
    assert_eq!(twice.latency.max(), once.latency.max());
}

#[test]
fn a_damaged_histogram_names_its_series_and_adds_nothing() {
    let mut damaged = series();
    damaged.queue.as_mut().unwrap().v2_deflate.truncate(10);
    let mut sum = Merged::new();
    let error = sum.add_proto(&damaged).unwrap_err();
    assert_eq!(error.to_string(), "histogram `queue` of series (scenario 1, step 2, target 3)");
    assert_eq!(sum, Merged::new());
}

#[test]
fn each_measure_reads_its_value() {
    let aggregate = aggregate();
    let value = |measure| evaluate(&threshold(measure), &aggregate);
    // 90 answered and 10 lost: rank 90 is the last finite one.
    assert_eq!(value(Measure::Latency { percentile: 90.0 }), Some(90_047.0));
    assert_eq!(value(Measure::Latency { percentile: 90.1 }), Some(f64::INFINITY));
    assert_eq!(value(Measure::Latency { percentile: 0.0 }), Some(1_000.0));
    assert_eq!(value(Measure::Service { percentile: 100.0 }), Some(900.0));
    assert_eq!(value(Measure::Queue { percentile: 50.0 }), Some(45.0));
    let mean = value(Measure::Mean).unwrap();
    assert!((mean - 45_500.0).abs() < 45.5, "{mean}");
    // 6 dropped, 4 failed, 8 bad of 100.
    assert_eq!(value(Measure::ErrorRate), Some(0.18));
    assert_eq!(value(Measure::Checks), Some(0.95));
    assert_eq!(value(Measure::Throughput), Some(9.0));
    assert_eq!(value(Measure::Goodput), Some(8.5));
    assert_eq!(value(Measure::Dropped), Some(6.0));
    assert!((value(Measure::Achieved).unwrap() - 0.95).abs() < 1e-12);
}

#[test]
fn nothing_yet_is_none_and_only_lost_is_infinite() {
    let empty = v1::Aggregate::default();
    for measure in [
        Measure::Latency { percentile: 99.0 },
        Measure::Service { percentile: 99.0 },
        Measure::Queue { percentile: 99.0 },
        Measure::Mean,
        Measure::ErrorRate,
        Measure::Checks,
        Measure::Throughput,
        Measure::Goodput,
        Measure::Achieved,
    ] {
        assert_eq!(evaluate(&threshold(measure), &empty), None, "{measure:?}");
    }
    assert_eq!(evaluate(&threshold(Measure::Dropped), &empty), Some(0.0));
    let lost = v1::Aggregate {
        arrivals: Some(v1::ArrivalCounts { dropped: 1, ..Default::default() }),
        ..Default::default()
    };
    let value = evaluate(&threshold(Measure::Latency { percentile: 1.0 }), &lost).unwrap();
    assert!(value.is_infinite() && !holds(Op::Less, value, 1e12));
    assert_eq!(evaluate(&threshold(Measure::ErrorRate), &lost), Some(1.0));
}

#[test]
fn bad_answers_are_counted_once_and_bounded_when_not_counted_by_the_worker() {
    let mut merged = Merged::from_proto(&series()).unwrap();
    assert_eq!(merged.bad(), 8);
    merged.counts.bad = 0;
    assert_eq!(merged.bad(), 7, "the larger of 7 statuses and 5 broken checks");
    assert_eq!(error_share(&merged, 0), Some(11.0 / 94.0));
    assert_eq!(error_share(&Merged::new(), 0), None);
}

#[test]
fn comparisons() {
    assert!(holds(Op::Less, 1.0, 2.0) && !holds(Op::Less, 2.0, 2.0));
    assert!(holds(Op::LessOrEqual, 2.0, 2.0) && !holds(Op::LessOrEqual, 2.1, 2.0));
    assert!(holds(Op::Greater, 2.1, 2.0) && !holds(Op::Greater, 2.0, 2.0));
    assert!(holds(Op::GreaterOrEqual, 2.0, 2.0) && !holds(Op::GreaterOrEqual, f64::NAN, 2.0));
}
