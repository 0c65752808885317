//! What the figures mean for the run: thresholds while it goes on, and whether the generator itself kept up.

pub(crate) mod thresholds;
pub(crate) mod validity;
