//! Send lags that nobody may ask for: kept as they came, and merged now and then.

use protocol::v1;
use series::Hist;

/// Histograms that wait before they are merged. As a table each would be 256 KB, as they came they are under a few KB.
const WAITING: usize = 32;

/// The send lag of one life of a worker in a phase.
#[derive(Debug, Default)]
pub(crate) struct Lags {
    parts: Vec<v1::Histogram>,
}

impl Lags {
    /// Adds what one load thread saw in an interval; it was read once when it came.
    pub(crate) fn add(&mut self, part: &v1::Histogram) {
        if part.v2_deflate.is_empty() {
            return;
        }
        self.parts.push(part.clone());
        if self.parts.len() > WAITING {
            self.merge();
        }
    }

    /// All of it, merged exactly; asked again before anything new came, it costs nothing.
    pub(crate) fn merged(&mut self) -> v1::Histogram {
        if self.parts.len() > 1 {
            self.merge();
        }
        self.parts.first().cloned().unwrap_or_default()
    }

    fn merge(&mut self) {
        let mut all = Hist::nanos();
        for part in &self.parts {
            if let Ok(part) = super::batch::lag(Some(part)) {
                all.absorb(part);
            }
        }
        self.parts = vec![all.encode()];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_kept_in_few_and_none_is_lost() {
        let (mut lags, mut truth) = (Lags::default(), Hist::nanos());
        lags.add(&v1::Histogram::default());
        for n in 1..=200_u64 {
            let mut part = Hist::nanos();
            part.record_n(n * 7_919, n);
            truth.add(&part);
            lags.add(&part.encode());
            assert!(lags.parts.len() <= WAITING);
        }
        assert_eq!(lags.merged(), truth.encode());
    }
}
