//! Writing to many sockets in one call to the system, by io_uring (Linux 5.6 and later, where a host's policy allows it).
//!
//! A system call costs the processor more than copying a request: entering and leaving the kernel throws away what it had
//! learnt of the code. Readiness stays with epoll; only the writes of one turn go together.
#![expect(
    unsafe_code,
    reason = "a submission names memory that the kernel reads; why it may is said at the block"
)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::{IoUring, Probe, opcode, types};

/// Writes that go together at most. The first of them waits for the last to be prepared, which counts as send lag.
pub const TOGETHER: usize = 32;

/// `MSG_DONTWAIT` of `send(2)`.
const DONT_WAIT: i32 = 0x40;

/// Bytes for one socket.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// The socket, which does not block.
    pub socket: BorrowedFd<'a>,
    /// What it is to take.
    pub bytes: &'a [u8],
}

/// The ring of one thread.
pub struct SendBatch {
    ring: IoUring,
}

impl std::fmt::Debug for SendBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SendBatch")
    }
}

impl SendBatch {
    /// Sets up a ring, used by this thread alone.
    ///
    /// # Errors
    /// The kernel has none, or a policy (seccomp, `kernel.io_uring_disabled`) forbids it: then each write is a call.
    pub fn new() -> io::Result<Self> {
        let ring: IoUring = IoUring::builder().build(TOGETHER as u32)?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        if !probe.is_supported(opcode::Send::CODE) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self { ring })
    }

    /// Writes what each socket takes at once, as `send(2)` would one after the other, and tells of each by its number: how
    /// many bytes it took, or why none. Takes [`TOGETHER`] of them at most; of what is more is told nothing.
    ///
    /// # Errors
    /// The ring does not work any more. Those that nothing was told of were not written.
    pub fn send<'a>(
        &mut self,
        sends: impl Iterator<Item = (usize, Outgoing<'a>)>,
        mut told: impl FnMut(usize, io::Result<usize>),
    ) -> io::Result<()> {
        let mut open = 0;
        for (number, Outgoing { socket, bytes }) in sends.take(TOGETHER) {
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let entry = opcode::Send::new(types::Fd(socket.as_raw_fd()), bytes.as_ptr(), length)
                .flags(DONT_WAIT)
                .build()
                .user_data(number as u64);
            // SAFETY: the kernel reads `bytes` and uses the descriptor until the entry's completion. Both are borrowed for
            // this call, and it returns only when as many completions have come as entries were submitted: a send that does
            // not wait is over, well or badly, when the submission returns. What is not submitted is never looked at: on an
            // error the caller is told to drop the ring.
            let pushed = unsafe { self.ring.submission().push(&entry) };
            pushed.map_err(|_| io::Error::other("the ring has no room"))?;
            open += 1;
        }
        while open > 0 {
            match self.ring.submit_and_wait(open) {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INTR.raw_os_error()) => {}
                Err(error) => return Err(error),
            }
            for completion in self.ring.completion() {
                open = open.saturating_sub(1);
                let number = usize::try_from(completion.user_data()).unwrap_or(usize::MAX);
                let result = completion.result();
                told(number, usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// A ring, where there is one.
    fn ring() -> Option<SendBatch> {
        SendBatch::new().ok()
    }

    #[test]
    fn each_socket_gets_its_own_bytes_and_its_own_result() {
        let Some(mut ring) = ring() else { return };
        let pairs: Vec<_> = (0..3).map(|_| UnixStream::pair().expect("sockets")).collect();
        let (gone, peer) = UnixStream::pair().expect("sockets");
        drop(peer);
        let (mut full, _kept) = UnixStream::pair().expect("sockets");
        full.set_nonblocking(true).expect("nonblocking");
        while full.write(&[0; 4096]).is_ok() {}
        let texts = ["one", "two and more", ""];
        let ours = pairs.iter().map(|(ours, _)| ours).chain([&gone, &full]);
        let all: Vec<_> = ours.zip([texts[0], texts[1], texts[2], "nobody", "later"]).collect();
        for _ in 0..3 {
            let mut results: Vec<Option<io::Result<usize>>> = all.iter().map(|_| None).collect();
            let sends =
                all.iter().map(|(socket, text)| Outgoing { socket: socket.as_fd(), bytes: text.as_bytes() });
            ring.send(sends.enumerate(), |number, result| results[number] = Some(result))
                .expect("a ring that works");
            let results: Vec<_> = results.into_iter().map(|result| result.expect("told")).collect();
            for (result, text) in results.iter().zip(texts) {
                assert_eq!(*result.as_ref().expect("taken"), text.len());
            }
            assert_eq!(results[3].as_ref().expect_err("closed").kind(), io::ErrorKind::BrokenPipe);
            assert_eq!(results[4].as_ref().expect_err("full").kind(), io::ErrorKind::WouldBlock);
            for ((_, theirs), text) in pairs.iter().zip(texts) {
                let mut read = vec![0; text.len()];
                (&mut &*theirs).read_exact(&mut read).expect("what was sent");
                assert_eq!(read, text.as_bytes());
            }
        }
    }
}
