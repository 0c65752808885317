//! Rate against p99, both logarithmic: each stage a point that shows how it came out.
//!
//! Drawn here and not by charts-rs, which writes the labels of a logarithmic axis at even distances, also where the values
//! are not, and whose points lead nowhere: these are links to the stages' reports.

use serde::Serialize;

use super::{Page, Verdict};
use crate::figures;

/// Size of the drawing; the page scales it.
const WIDTH: f64 = 1_120.0;
const HEIGHT: f64 = 380.0;
/// Edges of the plot in it.
const LEFT: f64 = 76.0;
const RIGHT: f64 = WIDTH - 16.0;
const TOP: f64 = 26.0;
const FOOT: f64 = HEIGHT - 44.0;
/// The axes reach so many times further than the values.
const MARGIN: f64 = 1.18;
/// Labels of an axis at most.
const LABELS: usize = 11;

#[derive(Serialize)]
pub(super) struct Chart {
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    top: f64,
    foot: f64,
    rates: Vec<Tick>,
    latencies: Vec<Tick>,
    limits: Vec<Tick>,
    /// Where the knee is.
    knee: Option<Tick>,
    /// Where the rates begin that are not kept.
    failed: Option<f64>,
    points: Vec<Point>,
}

#[derive(Serialize)]
struct Tick {
    at: f64,
    text: String,
}

#[derive(Serialize)]
struct Point {
    x: f64,
    y: f64,
    number: usize,
    verdict: Verdict,
    /// It was longer than the others.
    confirms: bool,
    report: String,
    title: String,
}

/// A logarithmic axis from one pixel to another.
struct Axis {
    least: f64,
    most: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// Over these values, of which there is at least one that is over 0.
    fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Option<Self> {
        let values: Vec<f64> = values.filter(|value| *value > 0.0 && value.is_finite()).collect();
        let least = values.iter().copied().reduce(f64::min)? / MARGIN;
        let most = values.iter().copied().reduce(f64::max)? * MARGIN;
        Some(Self { least, most, from, to })
    }

    fn place(&self, value: f64) -> f64 {
        let share = (value / self.least).ln() / (self.most / self.least).ln();
        self.from + share * (self.to - self.from)
    }

    /// Round values, in the finest steps of which all have room.
    fn ticks(&self, text: impl Fn(f64) -> String) -> Vec<Tick> {
        #[expect(clippy::cast_possible_truncation, reason = "powers of ten of a rate or a time")]
        let decades = self.least.log10().floor() as i32..=self.most.log10().ceil() as i32;
        let tenths: Vec<f64> = (10..100).map(|tenth| f64::from(tenth) / 10.0).collect();
        let steps = [
            &tenths[..],
            &[1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0],
            &[1.0, 2.0, 5.0],
            &[1.0, 3.0],
            &[1.0],
        ];
        let within = |steps: &[f64]| -> Vec<f64> {
            let all =
                decades.clone().flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)));
            all.filter(|value| (self.least..=self.most).contains(value)).collect()
        };
        let all = steps.iter().map(|steps| within(steps));
        let chosen = all.reduce(|finer, coarser| if finer.len() <= LABELS { finer } else { coarser });
        let ticks = chosen.unwrap_or_default().into_iter();
        ticks.map(|value| Tick { at: self.place(value), text: text(value) }).collect()
    }
}

/// The chart; `None` while no stage has an answer.
pub(super) fn of(page: &Page) -> Option<Chart> {
    let answered = page.stages.iter().filter_map(|stage| stage.p99_us);
    let rates = Axis::over(page.stages.iter().map(|stage| stage.rate), LEFT, RIGHT)?;
    let latencies = Axis::over(answered.chain(page.limits_us.iter().copied()), FOOT, TOP)?;
    let limit =
        |us: &f64| Tick { at: latencies.place(*us), text: format!("p99 limit {}", figures::micros(*us)) };
    let point = |(number, stage): (usize, &super::Stage)| {
        let p99 = stage
            .p99_us
            .map_or_else(|| "nothing was answered".to_owned(), |us| format!("p99 {}", figures::micros(us)));
        let word = match stage.verdict {
            Verdict::Kept => "kept",
            Verdict::Broken => "not kept",
            Verdict::Generator => "the generator was the limit",
        };
        let mut title =
            format!("stage {number}, {}: {}/s, {p99}: {word}", stage.purpose, figures::rate(stage.rate));
        for why in &stage.why {
            title.push_str("; ");
            title.push_str(why);
        }
        Point {
            x: rates.place(stage.rate),
            // What was never answered is later than anything.
            y: stage.p99_us.map_or(TOP, |us| latencies.place(us)),
            number,
            verdict: stage.verdict,
            confirms: stage.purpose == "confirm",
            report: stage.report.clone(),
            title,
        }
    };
    Some(Chart {
        width: WIDTH,
        height: HEIGHT,
        left: LEFT,
        right: RIGHT,
        top: TOP,
        foot: FOOT,
        rates: rates.ticks(figures::rate),
        latencies: latencies.ticks(figures::micros),
        limits: page.limits_us.iter().map(limit).collect(),
        knee: page
            .knee_per_second
            .map(|knee| Tick { at: rates.place(knee), text: format!("knee {}/s", figures::rate(knee)) }),
        failed: page.failed_per_second.map(|failed| rates.place(failed)),
        points: (1..).zip(&page.stages).map(point).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_is_logarithmic_and_its_labels_are_round_and_few() {
        let axis = Axis::over([10.0, 1_000.0, 0.0].into_iter(), 0.0, 100.0).unwrap();
        assert!((axis.place(100.0) - 50.0).abs() < 1e-9);
        let texts =
            |axis: &Axis| axis.ticks(figures::rate).into_iter().map(|tick| tick.text).collect::<Vec<_>>();
        assert_eq!(texts(&axis), ["10.0", "20.0", "50.0", "100", "200", "500", "1\u{202f}000"]);
        let narrow = Axis::over([200.0, 207.0].into_iter(), 0.0, 100.0).unwrap();
        assert_eq!(texts(&narrow), ["170", "180", "190", "200", "210", "220", "230", "240"]);
        let wide = Axis::over([1.0, 1e9].into_iter(), 0.0, 100.0).unwrap();
        assert!(texts(&wide).len() <= LABELS);
        assert!(Axis::over([].into_iter(), 0.0, 1.0).is_none());
    }
}
