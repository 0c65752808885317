//! What a guest costs, in nanoseconds a request:
//! `cargo run --release -p sandbox --example cost -- target/guests/basket.wasm`.
//!
//! The guest is the SDK's example `basket`. A round is repeated and the fastest counts: the machine's noise only adds.
#![allow(clippy::print_stdout, reason = "it prints what it measured")]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use sandbox::abi::{Completion, CompletionKind, Failure, Slice, Start};
use sandbox::{Guest, Host, HostConfig};

/// Requests a round.
const REQUESTS: usize = 1 << 14;
const ROUNDS: usize = 15;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: cost GUEST.wasm")?;
    let path = Path::new(&path);
    let cache = tempfile::tempdir()?;
    let config = HostConfig { cache_dir: Some(cache.path().to_owned()), ..HostConfig::default() };

    let (cold, new) = timed(|| Host::new(config.clone()));
    let cold = cold?;
    let (loaded, load) = timed(|| cold.load(path));
    loaded?;
    println!("host {new:?}; load with compiling {load:?}");
    let (host, new) = timed(|| Host::new(config));
    let host = host?;
    let (guest, load) = timed(|| host.load(path));
    let guest = guest?;
    println!("host {new:?}; load from the cache {load:?}");
    let instantiate = (0..ROUNDS).map(|_| timed(|| guest.instantiate("{}", 7, 64)).1).min();
    println!("instantiate and configure for 64 users {:?}", instantiate.unwrap_or_default());

    for batch in [1, 16, 256] {
        let open = fastest(|| starts(&guest, batch))?;
        let turn = fastest(|| turns(&guest, batch))?;
        println!(
            "batch {batch:3}: {open:6.0} ns a stateless request, {turn:6.0} ns a request of a turn of two"
        );
    }
    Ok(())
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begin = Instant::now();
    let done = work();
    (done, begin.elapsed())
}

/// Nanoseconds a request in the fastest round.
fn fastest(mut round: impl FnMut() -> Result<Duration, Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        best = best.min(round()?.as_nanos() as f64 / REQUESTS as f64);
    }
    Ok(best)
}

/// A feeder's row of one column.
fn row() -> Vec<u8> {
    [&5_u32.to_le_bytes()[..], b"12345"].concat()
}

fn batch_of(users: usize, first: usize) -> Result<Vec<Start>, std::num::TryFromIntError> {
    let start = |user| {
        let arrival = u64::try_from(first + user)?;
        Ok(Start { user: u32::try_from(user)?, arrival, rows: Slice { off: 0, len: 9 } })
    };
    (0..users).map(start).collect()
}

/// Open loop: a request a turn, and nobody waits for the answer.
fn starts(guest: &Guest, batch: usize) -> Result<Duration, Box<dyn Error>> {
    let mut instance = guest.instantiate("stateless", 7, 256)?;
    let (row, mut sent, mut spent) = (row(), 0, Duration::ZERO);
    for first in (0..REQUESTS).step_by(batch) {
        let starts = batch_of(batch, first)?;
        let (output, time) = timed(|| instance.step(0, &starts, &[], &row));
        sent += output?.requests.len();
        spent += time;
    }
    assert_eq!(sent, REQUESTS);
    Ok(spent)
}

/// Two requests a turn: the second is made of the first's answer, the last answer's body is looked at.
fn turns(guest: &Guest, batch: usize) -> Result<Duration, Box<dyn Error>> {
    let mut instance = guest.instantiate("{}", 7, 256)?;
    let body = [&row()[..], &[b'.'; 200], b"receipt", &[b'.'; 49]].concat();
    let answers = |seq, status| -> Result<Vec<Completion>, std::num::TryFromIntError> {
        (0..batch).map(|user| Ok(answer(u32::try_from(user)?, seq, status))).collect()
    };
    let (first_answers, last_answers) = (answers(0, 201)?, answers(1, 200)?);
    let (mut sent, mut spent) = (0, Duration::ZERO);
    for first in (0..REQUESTS / 2).step_by(batch) {
        let starts = batch_of(batch, first)?;
        for (starts, done) in [(&starts[..], &[][..]), (&[], &first_answers), (&[], &last_answers)] {
            let (output, time) = timed(|| instance.step(0, starts, done, &body));
            sent += output?.requests.len();
            spent += time;
        }
    }
    assert_eq!(sent, REQUESTS);
    Ok(spent)
}

fn answer(user: u32, seq: u32, status: u32) -> Completion {
    Completion {
        kind: CompletionKind::End,
        user,
        seq,
        status,
        failure: Failure::None,
        queue_us: 0,
        first_byte_us: 900,
        first_event_us: 0,
        last_byte_us: 1000,
        events: 0,
        head: Slice { off: 0, len: 0 },
        body: Slice { off: 9, len: 256 },
    }
}
