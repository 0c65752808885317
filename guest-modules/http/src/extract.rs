//! Values taken from an answer for later steps.

use std::borrow::Cow;

use gauntlet_sdk::Completion;

use crate::cookies;
use crate::json_path::{self, Path};

/// Longest value kept, bytes: with more, the state of a user would outgrow its share of memory. A longer one counts
/// as not found.
pub(crate) const MAX_VALUE: usize = 1_024;

/// Where a value comes from, ready to look.
#[derive(Debug)]
pub(crate) enum From {
    Json(Path),
    Header(String),
    Between(Vec<u8>, Vec<u8>),
    Cookie(String),
}

impl From {
    /// Whether the head of the answer is needed.
    pub(crate) fn needs_head(&self) -> bool {
        matches!(self, Self::Header(_) | Self::Cookie(_))
    }

    /// The value, if the answer has it and it is not too long.
    pub(crate) fn find<'a>(&self, answer: &Completion<'a>) -> Option<Cow<'a, [u8]>> {
        let found = match self {
            Self::Json(path) => json_path::text(path.find(answer.body)?)?,
            Self::Header(name) => Cow::Borrowed(answer.header(name)?),
            Self::Cookie(name) => {
                let value = answer.headers("set-cookie").find_map(|header| cookies::value_of(header, name));
                Cow::Borrowed(value?)
            }
            Self::Between(begin, end) => {
                let (_, rest) = split(answer.body, begin)?;
                Cow::Borrowed(split(rest, end)?.0)
            }
        };
        (found.len() <= MAX_VALUE).then_some(found)
    }
}

/// What stands before and after the first occurrence.
fn split<'a>(text: &'a [u8], part: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(part.len()).position(|window| window == part)?;
    Some((&text[..at], &text[at + part.len()..]))
}
