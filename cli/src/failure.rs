//! Why a command did not do what it was asked to: somebody's input, the environment, or a bug of ours.

use std::fmt;

use scheduler::verdict::code;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something that the user can mend; the text says place, finding, expectation and mend.
    Expected(ExpectedError),
    /// A defect of Gauntlet.
    Bug(anyhow::Error),
}

/// An error with an exit code of its own.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ExpectedError {
    /// As requirement R12 lists them.
    pub(crate) code: u8,
    /// For the user.
    pub(crate) message: String,
}

impl Failure {
    /// The plan, a flag or a guest is wrong.
    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self::Expected(ExpectedError { code: code::BAD_INPUT, message: message.into() })
    }

    /// Target, store, port or disk.
    pub(crate) fn environment(message: impl Into<String>) -> Self {
        Self::Expected(ExpectedError { code: code::ENVIRONMENT, message: message.into() })
    }

    pub(crate) fn with_code(code: u8, message: impl Into<String>) -> Self {
        match code {
            code::BUG => Self::bug(message),
            code => Self::Expected(ExpectedError { code, message: message.into() }),
        }
    }

    pub(crate) fn bug(message: impl Into<String>) -> Self {
        Self::Bug(anyhow::Error::msg(message.into()))
    }

    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Expected(error) => error.code,
            Self::Bug(_) => code::BUG,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expected(error) => error.fmt(f),
            Self::Bug(error) => write!(f, "a defect of Gauntlet: {error:#}"),
        }
    }
}

impl From<plan::Problems> for Failure {
    /// A plan that cannot be read is bad input, whatever keeps it from being read.
    fn from(problems: plan::Problems) -> Self {
        Self::input(problems.to_string())
    }
}

impl From<store::StoreError> for Failure {
    fn from(error: store::StoreError) -> Self {
        if error.is_environment() { Self::environment(error.to_string()) } else { Self::Bug(error.into()) }
    }
}

impl From<bus::BusError> for Failure {
    fn from(error: bus::BusError) -> Self {
        match error {
            bus::BusError::Store(error) => error.into(),
            error if error.is_environment() => Self::environment(error.to_string()),
            bug => Self::Bug(bug.into()),
        }
    }
}

impl From<report::WriteError> for Failure {
    fn from(error: report::WriteError) -> Self {
        match error {
            report::WriteError::File { .. } => Self::environment(error.to_string()),
            report::WriteError::Render(_) => Self::Bug(error.into()),
        }
    }
}
