//! What one load thread of this host can do: a short piece of the work that a request costs, timed.
//!
//! A request costs mostly the kernel's part of sending and receiving, then reading the answer's head and counting what was
//! seen. One round does these over a pair of Unix sockets: no target, port or network is needed, and nobody else is loaded.
//! The figure is for comparing hosts with each other. It is no rate that a target would be sent.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

/// Rounds that are timed together: about a quarter of a millisecond, so that most are disturbed by nobody.
const ROUNDS: u32 = 100;
/// Rounds are timed at least so often, however slow the host is.
const TIMES: usize = 10;
/// A request and its answer, as the wire has them.
const REQUEST: &[u8] =
    b"GET /items/4711 HTTP/1.1\r\nhost: shop.example:8080\r\naccept: */*\r\nx-user: 000000042\r\n\r\n";
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nserver: shop\r\ncontent-type: application/json\r\ncontent-length: 1024\r\n\
    cache-control: no-cache\r\nx-request-id: 0190-0042\r\n\r\n";
/// Headers that are read at most.
const HEADERS: usize = 16;
/// Places of a histogram's counts, as many as a step's latency has.
const COUNTS: usize = 1 << 15;

/// Rounds a second of one thread while `threads` of them (at least one) work, the mean of them. Takes `length` and a little.
///
/// Of each thread it is the rate that it kept in the quickest tenth of the time: whoever else is on the host makes rounds
/// slow, and none quick. The very quickest do not count, for before all threads have begun one may have a core to itself.
///
/// # Errors
/// When the host has no sockets or threads to spare.
pub fn thread_speed(threads: u32, length: Duration) -> io::Result<f64> {
    let threads = threads.max(1);
    let speeds = thread::scope(|scope| {
        let begun = (0..threads).map(|number| {
            let name = format!("calibration-{number}");
            thread::Builder::new().name(name).spawn_scoped(scope, move || measure(length))
        });
        let begun = begun.collect::<io::Result<Vec<_>>>()?;
        let ended = begun.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread of the calibration panicked")))
        });
        ended.collect::<io::Result<Vec<f64>>>()
    })?;
    Ok(speeds.iter().sum::<f64>() / f64::from(threads))
}

/// The rate of this thread, rounds a second.
fn measure(length: Duration) -> io::Result<f64> {
    let (mut near, mut far) = UnixStream::pair()?;
    let mut buffer = [0; 1_024];
    let mut counts = vec![0_u64; COUNTS];
    let begin = Instant::now();
    let mut times = Vec::new();
    while times.len() < TIMES || begin.elapsed() < length {
        let began = Instant::now();
        for _ in 0..ROUNDS {
            round(&mut near, &mut far, &mut buffer, &mut counts)?;
        }
        times.push(began.elapsed());
    }
    std::hint::black_box(&counts);
    Ok(f64::from(ROUNDS) / quick(&mut times).as_secs_f64())
}

/// A request goes out, and an answer comes in, is read and counted.
fn round(
    near: &mut UnixStream,
    far: &mut UnixStream,
    buffer: &mut [u8],
    counts: &mut [u64],
) -> io::Result<()> {
    near.write_all(REQUEST)?;
    // The far end answers with what it always would: that it reads the request first costs us no more than the kernel's
    // part of it, which a target has to bear.
    far.write_all(ANSWER)?;
    let read = near.read(buffer)?;
    let sent = far.read(buffer.get_mut(read..).unwrap_or_default())?;
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    let parsed = answer.parse(buffer.get(..read).unwrap_or_default()).map_err(io::Error::other)?;
    let length = answer.headers.iter().find(|header| header.name == "content-length");
    let seen = length.map_or(0, |length| length.value.len()) + sent + usize::from(parsed.is_complete());
    // Somewhere else each time, as latencies are.
    let before = counts.first().copied().unwrap_or_default().wrapping_mul(6_364_136_223_846_793_005);
    let place = before.wrapping_add(seen as u64) >> 32;
    if let Some(first) = counts.first_mut() {
        *first = first.wrapping_add(place | 1);
    }
    if let Some(count) = usize::try_from(place).ok().and_then(|place| counts.get_mut(place % COUNTS)) {
        *count = count.wrapping_add(1);
    }
    Ok(())
}

/// The time that a tenth of these are within.
fn quick(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    // A clock that did not go on is no rate.
    times.get(times.len() / 10).copied().unwrap_or_default().max(Duration::from_nanos(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disturbances_and_the_very_quickest_do_not_count() {
        let ms = Duration::from_millis;
        let mut times: Vec<Duration> = (0..100).map(|n| if n < 80 { ms(10) } else { ms(500) }).collect();
        times[3] = ms(1);
        assert_eq!(quick(&mut times), ms(10));
    }

    #[test]
    fn a_thread_has_a_speed_and_several_are_measured_together() {
        for threads in [0, 1, 2] {
            let speed = thread_speed(threads, Duration::from_millis(20)).unwrap();
            // A round is some system calls: slower than 10 ms or quicker than 10 ns it is no round.
            assert!((100.0..1e8).contains(&speed), "{threads} threads: {speed} rounds a second");
        }
    }
}
