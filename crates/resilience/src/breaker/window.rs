//! Calls and failures of late, in a tenth of the window each.

use core::time::Duration;

/// Parts of a window: it moves on by one of them.
const SLICES: u64 = 10;

#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    /// Which part of time it is; what it holds of another one is old.
    number: u64,
    calls: u32,
    failures: u32,
}

/// Counts of the last `SLICES` parts of time.
#[derive(Clone, Debug)]
pub(super) struct Window {
    /// Nanoseconds of a part, 1 at least.
    length: u128,
    newest: u64,
    slices: [Slice; SLICES as usize],
}

impl Window {
    pub(super) fn new(window: Duration) -> Self {
        let length = (window.as_nanos() / u128::from(SLICES)).max(1);
        Self { length, newest: 0, slices: Default::default() }
    }

    /// Adds a call that ended now; the calls and the failures in the window, with it.
    pub(super) fn add(&mut self, now: Duration, failed: bool) -> (u64, u64) {
        let number = u64::try_from(now.as_nanos() / self.length).unwrap_or(u64::MAX);
        // A clock that stepped back adds to the newest part: an older one may be gone.
        self.newest = self.newest.max(number);
        if let Some(slice) = self.slices.get_mut((self.newest % SLICES) as usize) {
            if slice.number != self.newest {
                *slice = Slice { number: self.newest, ..Slice::default() };
            }
            slice.calls = slice.calls.saturating_add(1);
            slice.failures = slice.failures.saturating_add(u32::from(failed));
        }
        let recent = self.slices.iter().filter(|slice| self.newest - slice.number < SLICES);
        recent.fold((0, 0), |(calls, failures), slice| {
            (calls + u64::from(slice.calls), failures + u64::from(slice.failures))
        })
    }

    pub(super) fn clear(&mut self) {
        self.slices = Default::default();
    }
}
