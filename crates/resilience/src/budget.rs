//! A retry budget: retries are a share of requests, so that in an outage they do not multiply the load.

/// The share and the reserve. The default lets one request in ten be retried, and 10 at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Retries that a hundred requests pay for.
    pub percent: u32,
    /// Retries that can be saved up, and that are there at the start; 0 = there are never any.
    pub reserve: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { percent: 10, reserve: 10 }
    }
}

/// What is left. In any stretch of its life there are at most `reserve` retries and `percent` in a hundred of its requests.
#[derive(Clone, Debug)]
pub struct Budget {
    settings: Settings,
    /// Hundredths of a retry.
    balance: u64,
    refused: u64,
}

impl Budget {
    /// One with its reserve full.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, balance: u64::from(settings.reserve) * 100, refused: 0 }
    }

    /// A request is made: the first attempt, not a retry. It pays in.
    pub fn request(&mut self) {
        let most = u64::from(self.settings.reserve) * 100;
        self.balance = (self.balance + u64::from(self.settings.percent)).min(most);
    }

    /// Takes out one retry. `false` = there is none left, and none is to be made; that is counted.
    #[must_use]
    pub fn retry(&mut self) -> bool {
        let left = self.balance.checked_sub(100);
        match left {
            Some(left) => self.balance = left,
            None => self.refused += 1,
        }
        left.is_some()
    }

    /// Retries that were not to be made.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Whole retries left.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.balance / 100
    }
}

#[cfg(test)]
mod tests;
