//! Content codings (RFC 9110, section 8.4.1): gzip, deflate, br and zstd, decoded from pieces of any size.
//!
//! What is decoded is handed on as soon as it can be, so that events of a coded stream are not held back. Memory is
//! that of the coding's window: 32 KiB for gzip and deflate, at most 16 MiB for br and 8 MiB for zstd (RFC 9659).

use std::io::Write;

use brotli_decompressor::{
    BrotliDecoderParameter, BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc,
};
use flate2::{Decompress, FlushDecompress, Status, write::MultiGzDecoder};
use protocol::failure::FailureClass;
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

/// Bytes handed on at once at most.
const PIECE: usize = 16 * 1024;

/// Largest window of zstd that is taken, as a power of two: what its content coding allows.
const ZSTD_WINDOW_LOG: u32 = 23;

/// How a body is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `gzip` or `x-gzip`.
    Gzip,
    /// `deflate`: the zlib format, or the bare deflate stream that some servers send in its place.
    Deflate,
    /// `br`.
    Brotli,
    /// `zstd`.
    Zstd,
}

impl Coding {
    /// What the `Content-Encoding` of an answer says; `None` when the body is not coded, or in a way that is not
    /// known here, several codings on one another included.
    #[must_use]
    pub fn of(fields: &[httparse::Header<'_>]) -> Option<Self> {
        let mut values = fields.iter().filter(|field| field.name.eq_ignore_ascii_case("content-encoding"));
        let value = values.next()?.value.trim_ascii().to_ascii_lowercase();
        if values.next().is_some() {
            return None;
        }
        match value.as_slice() {
            b"gzip" | b"x-gzip" => Some(Self::Gzip),
            b"deflate" => Some(Self::Deflate),
            b"br" => Some(Self::Brotli),
            b"zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

enum Inner {
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    /// Which of its two formats it is shows with the second byte.
    Deflate {
        first: Option<u8>,
        stream: Option<Decompress>,
    },
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>),
    Zstd(DCtx<'static>),
}

/// Decoder of one body.
pub struct Decoder {
    inner: Inner,
    piece: Box<[u8]>,
    decoded: u64,
    /// Something was decoded, so the end must come.
    begun: bool,
    whole: bool,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("decoded", &self.decoded).field("whole", &self.whole).finish()
    }
}

impl Decoder {
    /// A decoder before the first byte.
    ///
    /// # Errors
    /// [`FailureClass::TooLarge`]: there is no memory for it.
    pub fn new(coding: Coding) -> Result<Self, FailureClass> {
        let inner = match coding {
            Coding::Gzip => Inner::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
            Coding::Deflate => Inner::Deflate { first: None, stream: None },
            Coding::Brotli => {
                let alloc = StandardAlloc::default;
                let mut state = BrotliState::new(alloc(), alloc(), alloc());
                // Windows of a gigabyte are an extension that the content coding does not have.
                state.set_parameter(BrotliDecoderParameter::BROTLI_DECODER_PARAM_LARGE_WINDOW, 0);
                Inner::Brotli(Box::new(state))
            }
            Coding::Zstd => {
                let mut context = DCtx::try_create().ok_or(FailureClass::TooLarge)?;
                let limited = context.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG));
                limited.map_err(|_| FailureClass::TooLarge)?;
                Inner::Zstd(context)
            }
        };
        let piece = vec![0; PIECE].into_boxed_slice();
        Ok(Self { inner, piece, decoded: 0, begun: false, whole: false })
    }

    /// Decodes the next bytes and hands on what comes of them. `limit`: bytes of the whole body after decoding.
    ///
    /// # Errors
    /// [`FailureClass::Malformed`]: the body is not what its coding says. [`FailureClass::TooLarge`]: it is over the
    /// limit; no more than a piece beyond it was decoded.
    pub fn decode(
        &mut self,
        input: &[u8],
        limit: u64,
        mut data: impl FnMut(&[u8]),
    ) -> Result<(), FailureClass> {
        let decoded = &mut self.decoded;
        let mut hand_on = |piece: &[u8]| {
            *decoded += piece.len() as u64;
            if *decoded > limit {
                return Err(FailureClass::TooLarge);
            }
            if !piece.is_empty() {
                data(piece);
            }
            Ok(())
        };
        if input.is_empty() {
            return Ok(());
        }
        self.begun = true;
        match &mut self.inner {
            Inner::Gzip(decoder) => gzip(decoder, input, &mut hand_on),
            Inner::Deflate { first, stream } => {
                if self.whole {
                    return Err(FailureClass::Malformed);
                }
                self.whole = deflate(first, stream, input, &mut self.piece, &mut hand_on)?;
                Ok(())
            }
            Inner::Brotli(state) => {
                if self.whole {
                    return Err(FailureClass::Malformed);
                }
                self.whole = brotli(state, input, &mut self.piece, &mut hand_on)?;
                Ok(())
            }
            Inner::Zstd(context) => {
                self.whole = zstd(context, input, self.whole, &mut self.piece, &mut hand_on)?;
                Ok(())
            }
        }
    }

    /// The body has ended.
    ///
    /// # Errors
    /// [`FailureClass::Malformed`]: what is coded in it has not. A body without any byte is no failure.
    pub fn end(&mut self) -> Result<(), FailureClass> {
        if let Inner::Gzip(decoder) = &mut self.inner
            && self.begun
        {
            // The sum and the length stand at the end. What could be decoded was handed on before.
            decoder.try_finish().map_err(|_| FailureClass::Malformed)?;
            self.whole = decoder.get_ref().is_empty();
        }
        if self.begun && !self.whole { Err(FailureClass::Malformed) } else { Ok(()) }
    }
}

fn gzip(
    decoder: &mut MultiGzDecoder<Vec<u8>>,
    mut input: &[u8],
    hand_on: &mut impl FnMut(&[u8]) -> Result<(), FailureClass>,
) -> Result<(), FailureClass> {
    while !input.is_empty() {
        let used = decoder.write(input).map_err(|_| FailureClass::Malformed)?;
        if used == 0 {
            return Err(FailureClass::Malformed);
        }
        input = &input[used..];
        hand_on(decoder.get_ref())?;
        decoder.get_mut().clear();
    }
    // What was decoded waits in the decoder until it is asked for.
    decoder.flush().map_err(|_| FailureClass::Malformed)?;
    hand_on(decoder.get_ref())?;
    decoder.get_mut().clear();
    Ok(())
}

/// Returns whether the stream has ended.
fn deflate(
    first: &mut Option<u8>,
    stream: &mut Option<Decompress>,
    mut input: &[u8],
    piece: &mut [u8],
    hand_on: &mut impl FnMut(&[u8]) -> Result<(), FailureClass>,
) -> Result<bool, FailureClass> {
    if stream.is_none() {
        let (head, second) = match (*first, input) {
            (None, [head]) => {
                *first = Some(*head);
                return Ok(false);
            }
            (None, [head, second, ..]) => (*head, *second),
            (Some(head), [second, ..]) => (head, *second),
            (_, []) => return Ok(false),
        };
        // The head of a zlib stream: its method, and a sum over both bytes.
        let is_zlib = head & 0x0f == 8 && u16::from_be_bytes([head, second]) % 31 == 0;
        let made = stream.insert(Decompress::new(is_zlib));
        if let Some(head) = first.take() {
            inflate(made, &mut &[head][..], piece, hand_on)?;
        }
    }
    let Some(stream) = stream else { return Ok(false) };
    let ended = inflate(stream, &mut input, piece, hand_on)?;
    if ended && !input.is_empty() { Err(FailureClass::Malformed) } else { Ok(ended) }
}

fn inflate(
    stream: &mut Decompress,
    input: &mut &[u8],
    piece: &mut [u8],
    hand_on: &mut impl FnMut(&[u8]) -> Result<(), FailureClass>,
) -> Result<bool, FailureClass> {
    loop {
        let before = (stream.total_in(), stream.total_out());
        let ended = match stream.decompress(input, piece, FlushDecompress::None) {
            Ok(Status::StreamEnd) => true,
            Ok(Status::Ok | Status::BufError) => false,
            Err(_) => return Err(FailureClass::Malformed),
        };
        let moved = |now: u64, then: u64| usize::try_from(now - then).unwrap_or(usize::MAX);
        let (used, made) = (moved(stream.total_in(), before.0), moved(stream.total_out(), before.1));
        *input = input.get(used..).unwrap_or(&[]);
        hand_on(piece.get(..made).unwrap_or(&[]))?;
        // A piece that is full may not have been all.
        if ended || made < piece.len() && (input.is_empty() || used + made == 0) {
            return Ok(ended);
        }
    }
}

fn brotli(
    state: &mut BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    input: &[u8],
    piece: &mut [u8],
    hand_on: &mut impl FnMut(&[u8]) -> Result<(), FailureClass>,
) -> Result<bool, FailureClass> {
    let (mut left, mut at) = (input.len(), 0);
    loop {
        let (mut room, mut made) = (piece.len(), 0);
        let result =
            BrotliDecompressStream(&mut left, &mut at, input, &mut room, &mut made, piece, &mut 0, state);
        hand_on(piece.get(..made).unwrap_or(&[]))?;
        match result {
            BrotliResult::ResultSuccess if left == 0 => return Ok(true),
            BrotliResult::ResultSuccess | BrotliResult::ResultFailure => return Err(FailureClass::Malformed),
            BrotliResult::NeedsMoreInput => return Ok(false),
            BrotliResult::NeedsMoreOutput => {}
        }
    }
}

/// `whole`: a frame has ended and none has begun since.
fn zstd(
    context: &mut DCtx<'static>,
    input: &[u8],
    mut whole: bool,
    piece: &mut [u8],
    hand_on: &mut impl FnMut(&[u8]) -> Result<(), FailureClass>,
) -> Result<bool, FailureClass> {
    let mut input = InBuffer::around(input);
    loop {
        let all_used = input.pos() == input.src.len();
        if all_used && whole {
            return Ok(true);
        }
        let mut output = OutBuffer::around(&mut *piece);
        let hint = context.decompress_stream(&mut output, &mut input).map_err(zstd_failure)?;
        let made = output.pos();
        whole = hint == 0;
        hand_on(piece.get(..made).unwrap_or(&[]))?;
        if input.pos() == input.src.len() && made < piece.len() {
            return Ok(whole);
        }
    }
}

/// A window that is too large is a matter of size; everything else is wrong data.
fn zstd_failure(code: usize) -> FailureClass {
    if zstd_safe::get_error_name(code).contains("memory") {
        FailureClass::TooLarge
    } else {
        FailureClass::Malformed
    }
}

#[cfg(test)]
pub(crate) mod tests;
