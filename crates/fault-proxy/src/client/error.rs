//! Why a call failed.

use serde::Deserialize;

/// Why a call of a fault proxy's API failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The API's address is none.
    #[error(
        "fault proxy: found {url:?}: {problem}; expected the URL of its API, such as http://127.0.0.1:8474"
    )]
    Url {
        /// As given.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// What no path can hold.
    #[error("fault proxy: found {0:?}, expected a name: not empty, and neither . nor ..")]
    Name(String),
    /// It could not be reached, or did not answer in time.
    #[error("fault proxy at {url}: {call}: no answer: {}; look whether its process runs", causes(source))]
    NoAnswer {
        /// Of the API.
        url: String,
        /// Method and path.
        call: String,
        /// Why.
        source: reqwest::Error,
    },
    /// It answered that it did not do it.
    #[error("fault proxy at {url}: {call}: {message} (status {status})")]
    Refused {
        /// Of the API.
        url: String,
        /// Method and path.
        call: String,
        /// Of the answer.
        status: u16,
        /// What it said.
        message: String,
    },
    /// It did it, and answered in a way that this version cannot read.
    #[error(
        "fault proxy at {url}: {call}: the answer cannot be read: {source}; expected that of this version"
    )]
    Unreadable {
        /// Of the API.
        url: String,
        /// Method and path.
        call: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl ClientError {
    pub(super) fn refused(url: &str, call: String, status: u16, text: &str) -> Self {
        #[derive(Deserialize)]
        struct Body {
            error: String,
        }
        let message =
            serde_json::from_str(text).map_or_else(|_| text.trim_end().to_owned(), |body: Body| body.error);
        Self::Refused { url: url.to_owned(), call, status, message }
    }

    /// Of the answer, where there was one.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// There is no such proxy or toxic: what was to be removed is gone, what was to be renewed has ended.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.status() == Some(404)
    }

    /// There is a proxy or toxic of that name.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.status() == Some(409)
    }

    /// Nobody answered: the process has ended, or hangs.
    #[must_use]
    pub const fn is_unreachable(&self) -> bool {
        matches!(self, Self::NoAnswer { .. })
    }
}

/// An error with all that caused it: reqwest's own text does not say what happened.
fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
