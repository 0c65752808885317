//! Prompts: a text with values of the arrival, filled up to a size that is drawn for it.

use gauntlet_sdk::{Part, Rng, Turn};
use guest_config::{Template, Values};

use crate::config::Size;

/// Streams of draws; those of placeholders come after them.
pub(crate) mod stream {
    pub(crate) const EXPERT: u64 = 0;
    pub(crate) const THINK: u64 = 1;
    pub(crate) const SIZE: u64 = 2;
    pub(crate) const FILLER: u64 = 3;
    /// With the expert's place and the attempt in the bits above.
    pub(crate) const BACKOFF: u64 = 4;
}

/// Words of the filler: short and common, so that one is about a token.
const WORDS: [&[u8]; 16] = [
    b" the", b" time", b" of", b" day", b" water", b" and", b" light", b" house", b" in", b" road",
    b" green", b" to", b" stone", b" hand", b" is", b" far",
];

/// Writes a prompt, escaped for a JSON string: the text, then filler up to the size drawn for the arrival.
pub(crate) fn write(template: &Template, size: Size, values: &Context<'_>, part: &mut Part<'_>) {
    let begin = part.written().len();
    template.write(part, values);
    let wanted = draw(size, &mut values.draws(stream::SIZE));
    let mut left = wanted.saturating_sub(part.written().len() - begin);
    let mut words = values.draws(stream::FILLER);
    while left > 0 {
        let word = WORDS[(words.next_u64() >> 60) as usize];
        let word = &word[..word.len().min(left)];
        part.push(word);
        left -= word.len();
    }
}

/// Bytes that the prompt has at least.
fn draw(size: Size, draws: &mut Rng) -> usize {
    let bytes = match size {
        Size::Text => 0,
        Size::Even { min, max } => draws.between(min.into(), max.into()),
        Size::LogNormal { median, sigma, max } => {
            // Box and Muller; the unit draw may be 0, whose logarithm is not.
            let (u, v) = (1.0 - draws.unit(), draws.unit());
            let normal = (-2.0 * u.ln()).sqrt() * (core::f64::consts::TAU * v).cos();
            let drawn = median * (sigma * normal).exp();
            // The cast saturates, as wanted.
            (drawn as u64).min(max.into())
        }
    };
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// What a request's values are taken from.
pub(crate) struct Context<'a> {
    /// What [`keep`] kept.
    pub(crate) row: &'a [u8],
    pub(crate) seed: u64,
    pub(crate) arrival: u64,
    pub(crate) user: u32,
}

/// Keeps the columns of a turn's row: of each its length (u32, little endian), then its bytes.
pub(crate) fn keep(turn: &Turn<'_>, columns: &[(usize, usize)], kept: &mut Vec<u8>) {
    kept.clear();
    for &(feed, column) in columns {
        let value = turn.row(feed, column);
        kept.extend(u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
        kept.extend_from_slice(value);
    }
}

/// The value of a column that was kept; empty when there is none.
pub(crate) fn kept(mut rest: &[u8], column: usize) -> &[u8] {
    for index in 0..=column {
        let Some((length, after)) = rest.split_first_chunk::<4>() else { break };
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let Some((value, after)) = after.split_at_checked(length) else { break };
        if index == column {
            return value;
        }
        rest = after;
    }
    &[]
}

impl Values for Context<'_> {
    fn column(&self, index: usize) -> &[u8] {
        kept(self.row, index)
    }

    fn extracted(&self, _: usize) -> &[u8] {
        &[]
    }

    fn arrival(&self) -> u64 {
        self.arrival
    }

    fn user(&self) -> u32 {
        self.user
    }

    fn draws(&self, stream: u64) -> Rng {
        Rng::for_arrival(self.seed, self.arrival, stream)
    }
}
