//! The chunked transfer coding (RFC 9112, section 7.1), decoded from pieces of any size without keeping any.

/// Bytes of chunk extensions, trailers and zeros before sizes that one answer may have; more is an attack or a defect.
const MAX_OVERHEAD: u32 = 64 * 1024;

/// Why a chunked body cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkedError {
    /// The framing is not the chunked coding.
    #[error("the chunked coding is malformed")]
    Malformed,
    /// More than 64 KiB of chunk extensions, trailers or zeros before sizes.
    #[error("chunk extensions, trailers or zeros before sizes are larger than 64 KiB")]
    TooLarge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first digit of a size.
    SizeStart,
    Size,
    /// Blanks after the size, where some servers pad it.
    SizeBlank,
    /// After a semicolon: everything up to the line's end is ignored.
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a line after the last chunk.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

/// Decoder of one body. It holds a few words; data goes through uncopied.
#[derive(Clone, Copy, Debug)]
pub struct Chunked {
    state: State,
    /// Of the chunk whose size is being read or whose data comes.
    left: u64,
    overhead: u32,
}

impl Default for Chunked {
    fn default() -> Self {
        Self::new()
    }
}

impl Chunked {
    /// A decoder before the first byte of a body.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: State::SizeStart, left: 0, overhead: 0 }
    }

    /// Whether the last chunk and its trailers were read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Decodes `input`, hands each stretch of data to `data`, and returns how many bytes of `input` belong to
    /// this body: fewer than all only when the body ended.
    ///
    /// # Errors
    /// [`ChunkedError`]; the connection cannot be used again.
    pub fn decode(&mut self, input: &[u8], mut data: impl FnMut(&[u8])) -> Result<usize, ChunkedError> {
        let mut at = 0;
        while at < input.len() && self.state != State::Done {
            if self.state == State::Data {
                let available = input.len() - at;
                let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(available);
                data(&input[at..at + take]);
                at += take;
                self.left -= take as u64;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
            } else {
                self.framing(input[at])?;
                at += 1;
            }
        }
        Ok(at)
    }

    fn framing(&mut self, byte: u8) -> Result<(), ChunkedError> {
        self.state = match (self.state, byte) {
            (State::SizeStart, _) => self.digit(byte).ok_or(ChunkedError::Malformed)?,
            (State::Size | State::SizeBlank | State::Extension, b'\r') => State::SizeLf,
            (State::Size | State::SizeBlank, b';') => self.more(State::Extension)?,
            (State::Size | State::SizeBlank, b' ' | b'\t') => self.more(State::SizeBlank)?,
            (State::Size, _) => {
                let next = self.digit(byte).ok_or(ChunkedError::Malformed)?;
                // Zeros before the size could go on for ever.
                if self.left == 0 { self.more(next)? } else { next }
            }
            (State::Extension, b'\n' | 0) => return Err(ChunkedError::Malformed),
            (State::Extension, _) => self.more(State::Extension)?,
            (State::SizeLf, b'\n') if self.left == 0 => State::Trailer,
            (State::SizeLf, b'\n') => State::Data,
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::SizeStart,
            (State::Trailer, b'\r') => State::EndLf,
            (State::Trailer | State::TrailerName, _) if is_token(byte) => self.more(State::TrailerName)?,
            (State::TrailerName, b':') => self.more(State::TrailerValue)?,
            (State::TrailerValue, b'\r') => self.more(State::TrailerLf)?,
            (State::TrailerValue, b'\n' | 0) => return Err(ChunkedError::Malformed),
            (State::TrailerValue, _) => self.more(State::TrailerValue)?,
            (State::TrailerLf, b'\n') => self.more(State::Trailer)?,
            (State::EndLf, b'\n') => State::Done,
            _ => return Err(ChunkedError::Malformed),
        };
        Ok(())
    }

    /// Takes a digit of the size; `None` = not one, or the size is beyond any sense.
    fn digit(&mut self, byte: u8) -> Option<State> {
        let value = u64::from(char::from(byte).to_digit(16)?);
        if self.left >> 56 != 0 {
            return None;
        }
        self.left = self.left << 4 | value;
        Some(State::Size)
    }

    fn more(&mut self, next: State) -> Result<State, ChunkedError> {
        self.overhead += 1;
        if self.overhead > MAX_OVERHEAD { Err(ChunkedError::TooLarge) } else { Ok(next) }
    }
}

/// Whether a field's name may have this byte (RFC 9110, section 5.6.2).
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8]) -> (Vec<u8>, Result<usize, ChunkedError>, bool) {
        let mut decoder = Chunked::new();
        let mut body = Vec::new();
        let used = decoder.decode(input, |data| body.extend_from_slice(data));
        (body, used, decoder.is_done())
    }

    #[test]
    fn decodes_extensions_and_trailers_split_anywhere() {
        let wire =
            b"5;name=\"v\"\r\nhello\r\nA \t\r\n0123456789\r\n000;x\r\nDigest: abc\r\nMore: 1\r\n\r\nrest";
        let end = wire.len() - 4;
        assert_eq!(all(wire), (b"hello0123456789".to_vec(), Ok(end), true));
        for cut in 0..wire.len() {
            let mut decoder = Chunked::new();
            let mut body = Vec::new();
            let mut used = decoder.decode(&wire[..cut], |data| body.extend_from_slice(data)).unwrap();
            if !decoder.is_done() {
                assert_eq!(used, cut);
                used += decoder.decode(&wire[cut..], |data| body.extend_from_slice(data)).unwrap();
            }
            assert_eq!(
                (used, &body[..], decoder.is_done()),
                (end, &b"hello0123456789"[..], true),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn refuses_what_is_not_chunked() {
        for wire in [
            &b"\r\n"[..],
            b"x\r\n",
            b"5\nhello",
            b"5\r\nhelloX",
            b"5\r\nhello\rX",
            b"5 5\r\nhello",
            b"5 x\r\nhello",
            b"0\r\nno colon\r\n\r\n",
            b"0\r\n: no name\r\n\r\n",
            b"0\r\nA: b\r\n folded\r\n\r\n",
            b"-1\r\n",
            b"11111111111111111\r\n",
        ] {
            assert_eq!(all(wire).1, Err(ChunkedError::Malformed), "{:?}", String::from_utf8_lossy(wire));
        }
    }

    #[test]
    fn bounds_extensions_trailers_and_zeros() {
        for (begin, byte) in
            [(&b"1;"[..], b'x'), (b"1 ", b' '), (b"", b'0'), (b"0\r\n", b'A'), (b"0\r\nA:", b'b')]
        {
            let mut endless = begin.to_vec();
            endless.resize(100_000, byte);
            assert_eq!(all(&endless).1, Err(ChunkedError::TooLarge));
        }
        let mut endless = b"0\r\n".to_vec();
        endless.extend(b"A: b\r\n".repeat(20_000));
        assert_eq!(all(&endless).1, Err(ChunkedError::TooLarge));
    }
}
