//! The figures of the last second.

use protocol::v1;
use report::figures::{count, micros, percent, rate};
use series::Merged;

/// What one live aggregate says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Live {
    wanted: f64,
    achieved: f64,
    p50: Option<f64>,
    p99: Option<f64>,
    errors: f64,
    dropped: u64,
    waiting: u64,
}

impl Live {
    /// `None` when it covers no time or cannot be read.
    pub(crate) fn read(aggregate: &v1::Aggregate) -> Option<Self> {
        let seconds = series::seconds(aggregate);
        let arrivals = aggregate.arrivals.unwrap_or_default();
        let merged = match &aggregate.total {
            Some(total) => Merged::from_proto(total).ok()?,
            None => Merged::new(),
        };
        if seconds <= 0.0 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
        let percentile = |q| merged.latency.percentile(q).map(|value| value as f64);
        #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
        let achieved = arrivals.started as f64 / seconds;
        Some(Self {
            wanted: aggregate.wanted_rate,
            achieved,
            p50: percentile(50.0),
            p99: percentile(99.0),
            errors: series::error_share(&merged, arrivals.dropped).unwrap_or(0.0),
            dropped: arrivals.dropped,
            waiting: arrivals.waiting,
        })
    }

    /// All on one line.
    pub(crate) fn line(&self) -> String {
        let Self { wanted, achieved, errors, dropped, .. } = self;
        format!(
            "wanted {}/s, achieved {}/s · p50 {}, p99 {} · errors {} · dropped {}",
            rate(*wanted),
            rate(*achieved),
            time(self.p50),
            time(self.p99),
            percent(*errors),
            count(*dropped)
        )
    }

    /// Three lines, to stand under the bar.
    pub(crate) fn lines(&self) -> String {
        let Self { wanted, achieved, errors, dropped, waiting, .. } = self;
        format!(
            "\n  rate     {}/s wanted, {}/s achieved\n  latency  p50 {}, p99 {}\n  errors   {}, {} dropped, {} waiting",
            rate(*wanted),
            rate(*achieved),
            time(self.p50),
            time(self.p99),
            percent(*errors),
            count(*dropped),
            count(*waiting)
        )
    }
}

fn time(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), micros)
}

#[cfg(test)]
mod tests {
    use series::Hist;

    use super::*;

    #[test]
    fn a_second_of_figures() {
        let mut latency = Hist::micros();
        latency.record_n(1_000, 98);
        latency.record_n(50_000, 2);
        let aggregate = v1::Aggregate {
            to_offset_ns: 2_000_000_000,
            wanted_rate: 60.0,
            arrivals: Some(v1::ArrivalCounts { started: 100, dropped: 25, ..Default::default() }),
            total: Some(v1::Series {
                answered: 100,
                good: 100,
                latency: Some(latency.encode()),
                ..Default::default()
            }),
            ..Default::default()
        };
        assert_eq!(
            Live::read(&aggregate).unwrap().line(),
            "wanted 60.0/s, achieved 50.0/s · p50 1.00 ms, p99 50.0 ms · errors 20.0 % · dropped 25"
        );
        assert_eq!(Live::read(&v1::Aggregate::default()), None);
    }
}
