//! Which arrivals, users and connections are a thread's own.

/// A thread's share of everything that is numbered 0, 1, 2, … in the whole run.
///
/// Number k belongs to the worker that owns stripe `k mod stripe_count`; the worker's j-th own number belongs to
/// its thread `j mod threads`. So the whole run's numbers are divided without a coordinator, and together the
/// shares of all threads of all workers own each number once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    stripe_count: u64,
    stripes: Vec<u64>,
    thread: u64,
    threads: u64,
}

impl Share {
    /// The share of thread `thread` of `threads`. Stripes are sorted; those at or over `stripe_count` own nothing. A
    /// thread number at or over `threads` owns nothing (a thread that sits a phase out).
    #[must_use]
    pub fn new(stripe_count: u32, stripes: &[u32], thread: u32, threads: u32) -> Self {
        let stripe_count = stripe_count.max(1);
        let mut own: Vec<u64> =
            stripes.iter().filter(|s| **s < stripe_count).map(|s| u64::from(*s)).collect();
        own.sort_unstable();
        own.dedup();
        Self {
            stripe_count: u64::from(stripe_count),
            stripes: own,
            thread: u64::from(thread),
            threads: u64::from(threads.max(1)),
        }
    }

    /// Everything: one worker with one thread.
    #[must_use]
    pub fn whole() -> Self {
        Self::new(1, &[0], 0, 1)
    }

    /// Nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::new(1, &[], 0, 1)
    }

    /// The same worker's share over all its threads.
    #[must_use]
    pub fn of_worker(&self) -> Self {
        Self { thread: 0, threads: 1, ..self.clone() }
    }

    /// Whether nothing is owned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stripes.is_empty() || self.thread >= self.threads
    }

    /// The part of the whole that is owned, 0 to 1.
    #[must_use]
    pub fn fraction(&self) -> f64 {
        if self.is_empty() {
            return 0.0;
        }
        self.stripes.len() as f64 / self.stripe_count as f64 / self.threads as f64
    }

    /// The i-th own number, from 0; `None` when nothing is owned or it does not fit.
    #[must_use]
    pub fn nth(&self, i: u64) -> Option<u64> {
        if self.is_empty() {
            return None;
        }
        let stripes = self.stripes.len() as u64;
        let j = i.checked_mul(self.threads)?.checked_add(self.thread)?;
        let stripe = self.stripes.get(usize::try_from(j % stripes).ok()?)?;
        (j / stripes).checked_mul(self.stripe_count)?.checked_add(*stripe)
    }

    /// The own numbers below `n`, in order.
    pub fn numbers_below(&self, n: u64) -> impl Iterator<Item = u64> {
        (0..self.count_below(n)).filter_map(|i| self.nth(i))
    }

    /// How many own numbers lie below `n`: the share of a total of `n` connections, users or places to wait.
    #[must_use]
    pub fn count_below(&self, n: u64) -> u64 {
        if self.is_empty() {
            return 0;
        }
        let rest = n % self.stripe_count;
        let of_worker = (n / self.stripe_count) * self.stripes.len() as u64
            + self.stripes.iter().filter(|s| **s < rest).count() as u64;
        // Own j with j mod threads = thread and j < of_worker.
        (of_worker + self.threads - 1 - self.thread) / self.threads
    }
}
