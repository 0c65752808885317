//! Why the program ends other than well.

use crate::exit;

/// With the exit code that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    /// The system does not give what is needed.
    #[error("{0}")]
    Environment(String),
    /// A fault is not undone, or something of ours is left.
    #[error("{0}")]
    Unrecovered(String),
}

impl Problem {
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Environment(_) => exit::ENVIRONMENT,
            Self::Unrecovered(_) => exit::UNRECOVERED,
        }
    }
}
