//! Whose an error is.

/// Who has to mend what an error is about; programs that run a service end by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The user: a flag, a plan or a setting is wrong.
    Input,
    /// Network, server, store, port or disk.
    Environment,
    /// We: a defect of Gauntlet.
    Bug,
}

impl Blame {
    /// The exit code of requirement R12.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Bug => 1,
            Self::Input => 2,
            Self::Environment => 3,
        }
    }
}

/// Why a service ended.
pub trait ServiceError: std::error::Error + Send + 'static {
    /// Whose it is.
    fn blame(&self) -> Blame;
}
