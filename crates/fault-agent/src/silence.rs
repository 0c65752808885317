//! Telling from a pipe whether who writes to it lives.
//!
//! Time is counted in ticks, and one that took far longer counts as a few: when the whole machine (or this and the other
//! process together) stood still for a while, nobody is taken for dead because of that.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::wait;

/// Ticks in the longest silence.
const TICKS: u32 = 20;
/// What one tick counts at most, in ticks: on a busy machine each is late by some.
const LATE: u32 = 5;

/// Counts how long a pipe has been silent.
#[derive(Debug)]
pub(crate) struct Silence {
    tick: Duration,
    longest: Duration,
    silent: Duration,
}

/// What a pipe says of its writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It lives, as far as can be told.
    Alive,
    /// Nothing came for too long.
    Silent,
    /// It closed the pipe, or died.
    Closed,
}

impl Silence {
    /// More than `longest` without a byte is too long.
    pub(crate) fn new(longest: Duration) -> Self {
        let tick = (longest / TICKS).max(Duration::from_millis(1));
        Self { tick, longest, silent: Duration::ZERO }
    }

    /// Whether the last that was heard came just now.
    pub(crate) fn heard_now(&self) -> bool {
        self.silent.is_zero()
    }

    /// Waits for a tick at most.
    pub(crate) fn hear(&mut self, pipe: BorrowedFd<'_>) -> io::Result<Heard> {
        let began = Instant::now();
        if wait::readable(&[pipe], self.tick)? != [true] {
            self.silent += began.elapsed().min(self.tick * LATE);
            return Ok(if self.silent > self.longest { Heard::Silent } else { Heard::Alive });
        }
        let mut bytes = [0; 4096];
        match rustix::io::read(pipe, &mut bytes) {
            Ok(0) => return Ok(Heard::Closed),
            Ok(_) => self.silent = Duration::ZERO,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Heard::Alive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::fd::AsFd as _;

    #[test]
    fn bytes_keep_it_alive_then_silence_then_its_end() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut silence = Silence::new(Duration::from_millis(20));
        let mut heard = Vec::new();
        for _ in 0..TICKS {
            writer.write_all(b"x").unwrap();
            heard.push(silence.hear(reader.as_fd()).unwrap());
        }
        assert!(heard.iter().all(|heard| *heard == Heard::Alive), "{heard:?}");
        let silent = (0..=TICKS + 1).map(|_| silence.hear(reader.as_fd()).unwrap()).last();
        assert_eq!(silent, Some(Heard::Silent));
        drop(writer);
        assert_eq!(silence.hear(reader.as_fd()).unwrap(), Heard::Closed);
    }
}
