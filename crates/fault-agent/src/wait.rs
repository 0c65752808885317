//! Waiting in a program without a runtime.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Between two looks at what cannot be waited for.
const LOOK: Duration = Duration::from_millis(5);

/// Which of the descriptors can be read (or have ended), once one can or the time is over.
pub(crate) fn readable(fds: &[BorrowedFd<'_>], at_most: Duration) -> io::Result<Vec<bool>> {
    let timeout = Timespec::try_from(at_most).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut polled: Vec<PollFd<'_>> =
        fds.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    match poll(&mut polled, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect()),
        Err(error) => Err(error.into()),
    }
}

/// Whether a pipe takes what is written to it without waiting.
pub(crate) fn writable(fd: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&now)).is_ok_and(|_| !polled[0].revents().is_empty())
}

/// Looks again and again until `look` finds something or the time is over.
pub(crate) fn until<T>(at_most: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + at_most;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        // An early end of the wait is a look more.
        let _ = readable(&[], LOOK);
    }
}

/// Milliseconds of Unix time. A clock before 1970 is 0.
pub(crate) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
