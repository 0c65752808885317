//! Exit codes of the program, as those of all of Gauntlet's.

/// Nothing went wrong, nothing is left.
pub(crate) const OK: u8 = 0;
/// Our own defect.
pub(crate) const BUG: u8 = 1;
/// Arguments that make no sense.
pub(crate) const INPUT: u8 = 2;
/// The system does not give what is needed: the state directory, processes.
pub(crate) const ENVIRONMENT: u8 = 3;
/// A fault is not undone, or something of ours is left.
pub(crate) const UNRECOVERED: u8 = 97;
