//! What an answer has said so far, whichever API it is of, whole or in pieces.

use crate::fault::Told;

/// Why a model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It was done.
    Done,
    /// It had said as many tokens as it may.
    Length,
    /// It wants something that is no text: a tool, a pause.
    Other,
    /// It will not answer, or was not allowed to.
    Refused,
    /// It broke.
    Broken,
    /// A word that the API's documents do not have.
    Unknown,
}

/// One answer.
#[derive(Debug, Default)]
pub struct Answer {
    /// Content that is no reasoning has come.
    pub has_text: bool,
    /// The text, when somebody needs it, up to [`Answer::KEPT`] bytes.
    pub text: Vec<u8>,
    /// Whether the text is kept.
    pub keeps_text: bool,
    /// Why it ended; absent = that was not said.
    pub stop: Option<Stop>,
    /// Tokens of the request, as the API counts them.
    pub input_tokens: Option<u32>,
    /// Tokens of the answer, reasoning included, as the API counts them.
    pub output_tokens: Option<u32>,
    /// Anthropic's `message_stop`, the others' `[DONE]`; Gemini's streams end with their reason to stop.
    pub ended: bool,
    /// An error in the place of an answer, or in the middle of one.
    pub error: Option<Told>,
    /// Something is not of the API's shape.
    pub malformed: bool,
    /// When the first content came, reasoning included; microseconds from the send, 0 = not yet.
    pub first_us: u32,
    /// When the latest content came, likewise.
    pub latest_us: u32,
}

impl Answer {
    /// Bytes of a text that are kept for a vote, a conversation or a check.
    pub const KEPT: usize = 4096;

    /// An answer that is still to come.
    #[must_use]
    pub fn new(keeps_text: bool) -> Self {
        Self { keeps_text, ..Self::default() }
    }

    /// Takes a piece of the text; tells whether there is anything in it.
    pub fn say(&mut self, text: &str) -> bool {
        if text.is_empty() {
            return false;
        }
        self.has_text = true;
        if self.keeps_text {
            let room = Self::KEPT.saturating_sub(self.text.len());
            let mut end = text.len().min(room);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            self.text.extend_from_slice(&text.as_bytes()[..end]);
        }
        true
    }

    /// The text that was kept.
    #[must_use]
    pub fn kept(&self) -> &str {
        std::str::from_utf8(&self.text).unwrap_or_default()
    }

    /// Notes when content came; gives the time since the content before it.
    pub fn content_at(&mut self, at_us: u32) -> Option<u32> {
        let gap = (self.first_us > 0).then(|| at_us.saturating_sub(self.latest_us));
        if self.first_us == 0 {
            self.first_us = at_us;
        }
        self.latest_us = at_us;
        gap
    }
}
