//! Messages in channels: numbered without gaps, and chained, so that a reader sees whether one is missing or was changed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use rmcp::model::Tool;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Failure, plain, tool, within};
use crate::records::checksum;

/// Channels at most.
const MAX_CHANNELS: usize = 256;
/// Messages that a channel keeps; the oldest give way.
const KEPT: usize = 256;
/// Bytes of a message at most.
const MAX_TEXT: usize = 1_024;
/// Bytes of a channel's name at most.
const MAX_NAME: usize = 64;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Publish {
    /// Made by its first message.
    #[schemars(length(min = 1, max = MAX_NAME))]
    channel: String,
    #[schemars(length(min = 1, max = MAX_TEXT))]
    text: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct History {
    #[schemars(length(min = 1, max = MAX_NAME))]
    channel: String,
    /// Only messages with higher numbers.
    #[serde(default)]
    after: u64,
    /// Messages in one answer at most.
    #[serde(default = "most_messages")]
    #[schemars(range(min = 1, max = KEPT))]
    limit: u32,
}

fn most_messages() -> u32 {
    50
}

#[derive(Clone, Serialize, JsonSchema)]
pub(crate) struct Message {
    /// 1, 2, 3, … in each channel.
    sequence: u64,
    text: String,
    /// SHA-256, in hexadecimal, of the digest before (nothing before the first) and this text.
    digest: String,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Messages {
    messages: Vec<Message>,
    /// Messages that there have been; the oldest may be gone.
    published: u64,
}

#[derive(Default)]
struct Channel {
    published: u64,
    digest: String,
    kept: VecDeque<Message>,
}

/// The channels of one server. They are in its memory only: what is in copies are objects.
#[derive(Default)]
pub(crate) struct Channels {
    channels: Mutex<BTreeMap<String, Channel>>,
}

pub(crate) fn tools() -> Vec<Tool> {
    vec![
        tool::<Publish, Message>("publish", "Publishes a message in a channel."),
        tool::<History, Messages>("history", "Gives the messages of a channel in order."),
    ]
}

impl Channels {
    pub(crate) fn publish(&self, Publish { channel, text }: Publish) -> Result<Message, Failure> {
        plain("channel", &channel, MAX_NAME)?;
        within("text", text.len() as u64, 1, MAX_TEXT as u64)?;
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if channels.len() >= MAX_CHANNELS && !channels.contains_key(&channel) {
            return Err(Failure::Tool(format!("there are {MAX_CHANNELS} channels already")));
        }
        let channel = channels.entry(channel).or_default();
        channel.published += 1;
        channel.digest = checksum(&format!("{}{text}", channel.digest));
        let message = Message { sequence: channel.published, text, digest: channel.digest.clone() };
        if channel.kept.len() == KEPT {
            channel.kept.pop_front();
        }
        channel.kept.push_back(message.clone());
        Ok(message)
    }

    pub(crate) fn history(&self, history: &History) -> Result<Messages, Failure> {
        within("limit", u64::from(history.limit), 1, KEPT as u64)?;
        let channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(channel) = channels.get(&history.channel) else {
            return Err(Failure::Tool(format!("there is no channel {:?}", history.channel)));
        };
        let newer = channel.kept.iter().filter(|message| message.sequence > history.after);
        let messages = newer.take(history.limit as usize).cloned().collect();
        Ok(Messages { messages, published: channel.published })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_numbered_and_chained_and_the_oldest_go() {
        let channels = Channels::default();
        for n in 0..300 {
            let text = format!("message {n}");
            assert_eq!(channels.publish(Publish { channel: "a".into(), text }).unwrap().sequence, n + 1);
        }
        let history =
            |after, limit| channels.history(&History { channel: "a".into(), after, limit }).unwrap();
        let all = history(0, 256);
        assert_eq!((all.messages.len(), all.messages[0].sequence, all.published), (256, 45, 300));
        for pair in all.messages.windows(2) {
            assert_eq!(pair[1].sequence, pair[0].sequence + 1);
            assert_eq!(pair[1].digest, checksum(&format!("{}{}", pair[0].digest, pair[1].text)));
        }
        assert_eq!(history(298, 1).messages[0].text, "message 298");
        assert!(channels.history(&History { channel: "b".into(), after: 0, limit: 1 }).is_err());
    }

    #[test]
    fn channels_are_limited() {
        let channels = Channels::default();
        let publish = |n: usize| channels.publish(Publish { channel: n.to_string(), text: "x".into() });
        assert!((0..MAX_CHANNELS).all(|n| publish(n).is_ok()));
        assert!(publish(MAX_CHANNELS).is_err());
        assert!(publish(0).is_ok());
    }
}
