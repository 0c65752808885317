//! Lines in and lines out, through pipes that must not hold up the agent.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd as _;

use rustix::io::Errno;

use crate::wait;
use crate::wire::Reply;

/// A longer request is none.
const LONGEST: usize = 4 << 20;
/// What may wait for a controller that does not read.
const WAITING: usize = 4 << 20;
/// A pipe that can be written to takes so much without waiting.
const PIECE: usize = 4096;

/// The controller's requests.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
}

/// What reading gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// Whole lines.
    Lines(Vec<Vec<u8>>),
    /// Whole lines, and then the controller closed its end or said what is no line.
    Last(Vec<Vec<u8>>),
}

impl Input {
    /// Takes what is there; there must be something.
    pub(super) fn read(&mut self) -> Read {
        let mut piece = [0; 65_536];
        let stdin = io::stdin();
        let ended = match rustix::io::read(stdin.as_fd(), &mut piece) {
            Ok(0) => true,
            Ok(count) => {
                self.bytes.extend_from_slice(&piece[..count]);
                false
            }
            Err(error) => !matches!(error, Errno::INTR | Errno::AGAIN),
        };
        let mut lines: Vec<Vec<u8>> = self.bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        // What comes after the last end of a line is not whole yet.
        self.bytes = lines.pop().unwrap_or_default();
        if ended || self.bytes.len() > LONGEST { Read::Last(lines) } else { Read::Lines(lines) }
    }
}

/// Answers on their way to the controller.
#[derive(Debug, Default)]
pub(super) struct Output {
    waiting: VecDeque<u8>,
    closed: bool,
}

impl Output {
    pub(super) fn say(&mut self, reply: &Reply) {
        match serde_json::to_vec(reply) {
            Ok(line) if !self.closed => {
                self.waiting.extend(line);
                self.waiting.push_back(b'\n');
            }
            // Nobody is there to hear it.
            _ => {}
        }
    }

    /// Writes what the controller takes; `false` = it is gone, or has not read for so long that it counts as that.
    pub(super) fn flush(&mut self) -> bool {
        let stdout = io::stdout();
        while !self.closed && !self.waiting.is_empty() && wait::writable(stdout.as_fd()) {
            let piece: Vec<u8> = self.waiting.iter().copied().take(PIECE).collect();
            match rustix::io::write(stdout.as_fd(), &piece) {
                Ok(written) => drop(self.waiting.drain(..written)),
                Err(Errno::INTR | Errno::AGAIN) => break,
                Err(_) => self.closed = true,
            }
        }
        self.closed |= self.waiting.len() > WAITING;
        !self.closed
    }

    /// Whether all was written.
    pub(super) fn is_empty(&self) -> bool {
        self.closed || self.waiting.is_empty()
    }
}
