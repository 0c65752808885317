//! The clock of the hot path, read several times a request.
#![expect(unsafe_code, reason = "the call fills memory that is named to it; why it may is said at the block")]

/// Nanoseconds of the system's monotonic clock, which `std::time::Instant` reads, too: the arithmetic of `Instant` costs more
/// than the reading. Through the C library, so that valgrind, which hides the kernel's own page of code, can run it.
#[must_use]
pub fn nanos() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is valid for the write that the call makes and outlives it; the clock exists on every Linux, so that the
    // call cannot fail, and if it did, `now` is what it was.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}
