//! Headers that are the same in many requests.

/// Headers written once and added to any number of requests at the cost of a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// As the worker reads them: lengths of name and value, little-endian, then both.
    block: Vec<u8>,
}

impl Headers {
    /// One more. A name or value is cut at 65 535 bytes.
    #[must_use]
    pub fn with(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        let cut = |text: &[u8]| u16::try_from(text.len()).unwrap_or(u16::MAX);
        let (name, value) = (name.as_ref(), value.as_ref());
        for length in [cut(name), cut(value)] {
            self.block.extend_from_slice(&length.to_le_bytes());
        }
        for text in [name, value] {
            self.block.extend_from_slice(&text[..usize::from(cut(text))]);
        }
        self
    }

    pub(crate) fn block(&self) -> &[u8] {
        &self.block
    }
}
