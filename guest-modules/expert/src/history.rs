//! What a conversation has said so far, as it is sent again: escaped for JSON, and bounded.

use gauntlet_sdk::Part;
use guest_config::json_escaped;

use expert_apis::Envelope;

/// Prompts and answers of one user, the oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Of each text its length (u32, little endian), then its bytes: a prompt, its answer, the next prompt.
    kept: Vec<u8>,
    /// The prompt that waits for its answer; empty when it is too long to be kept.
    asked: Vec<u8>,
    /// Turns that were taken.
    pub(crate) turns: u32,
}

impl History {
    /// A new conversation begins.
    pub(crate) fn clear(&mut self) {
        self.kept.clear();
        self.asked.clear();
        self.turns = 0;
    }

    /// Notes a prompt, escaped, if it may be kept at all.
    pub(crate) fn ask(&mut self, prompt: &[u8], limit: usize) {
        self.asked.clear();
        if prompt.len() <= limit {
            self.asked.extend_from_slice(prompt);
        }
    }

    /// Keeps the noted prompt with its answer. The oldest pairs go until all that is kept has `limit` bytes at most.
    pub(crate) fn answer(&mut self, text: &str, limit: usize) {
        let mut answer = Vec::with_capacity(text.len());
        json_escaped(&mut answer, text.as_bytes());
        let size = self.asked.len() + answer.len() + 8;
        if self.asked.is_empty() || size > limit {
            // A pair that does not fit takes all before it with it: a conversation has no holes.
            self.kept.clear();
            return;
        }
        while self.kept.len() + size > limit {
            let pair = self.texts().take(2).map(|text| text.len() + 4).sum::<usize>();
            self.kept.drain(..pair.max(1).min(self.kept.len()));
        }
        for text in [&self.asked[..], &answer] {
            self.kept.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
            self.kept.extend_from_slice(text);
        }
        self.asked.clear();
    }

    /// Writes the messages that come before the next prompt.
    pub(crate) fn write(&self, envelope: &Envelope, part: &mut Part<'_>) {
        for (index, text) in self.texts().enumerate() {
            part.push(if index % 2 == 0 { envelope.user } else { envelope.assistant });
            part.push(text);
            part.push(envelope.close);
            part.push(b",");
        }
    }

    fn texts(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.kept[..];
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first_chunk::<4>()?;
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            let (text, after) = after.split_at_checked(length)?;
            rest = after;
            Some(text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(history: &History) -> Vec<String> {
        history.texts().map(|text| String::from_utf8_lossy(text).into_owned()).collect()
    }

    #[test]
    fn pairs_are_kept_escaped_and_the_oldest_go_first() {
        let mut history = History::default();
        for turn in 0..5 {
            history.ask(format!("question {turn}").as_bytes(), 80);
            history.answer(&format!("\"answer\" {turn}"), 80);
            assert!(history.kept.len() <= 80);
        }
        let kept = ["question 3", "\\\"answer\\\" 3", "question 4", "\\\"answer\\\" 4"];
        assert_eq!(texts(&history), kept);
        history.ask(&[b'x'; 81], 80);
        history.answer("y", 80);
        assert!(texts(&history).is_empty(), "what followed on it would make no sense without it");
    }
}
