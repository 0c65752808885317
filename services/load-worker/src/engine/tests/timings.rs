//! The times that are reported are those of what happened, to the histograms' resolution: under a clock that is set by hand,
//! where all that takes time (the guest, waking up, the target) takes what a seed has drawn.
//!
//! Beside the engine each test keeps its own book of the same arrivals: who has a user, who waits, and at what time of the clock
//! each was taken, sent and answered. Percentiles of that book are what the report is held to.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocol::v1;
use sandbox::abi;
use series::{Hist, Merged};

use super::rig::{closes, empty, finish, rate, request, script, setup};
use super::stepping::{Lockstep, Time};
use crate::engine::Source;
use crate::schedule::unit;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

/// Arrivals a second of the drawn runs, and what may be under way of them at a time: now and then too little.
const RATE: u32 = 2_000;
const USERS: u32 = 75;

/// What happened to an arrival, and when: nanoseconds of the clock.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    intended: u64,
    taken: u64,
    ready: u64,
    sent: u64,
    first: u64,
    last: u64,
}

impl Times {
    const fn queue(&self) -> u64 {
        self.ready - self.taken
    }

    /// What is left of the time before the send.
    const fn send_lag(&self) -> u64 {
        self.sent - self.intended - self.queue()
    }
}

/// The book.
#[derive(Debug)]
struct Book {
    times: Vec<Times>,
    /// Of so many the time has come.
    taken: usize,
    users: u32,
    /// Users that are free.
    free: u32,
    waiting: VecDeque<usize>,
    answered: usize,
    /// Calls of the guest.
    calls: u64,
    /// Bytes of all requests.
    bytes_sent: usize,
}

impl Book {
    fn new(users: u32) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            times: Vec::new(),
            taken: 0,
            users,
            free: users,
            waiting: VecDeque::new(),
            answered: 0,
            calls: 0,
            bytes_sent: 0,
        }))
    }

    /// A turn begins: everything due is taken.
    fn take(&mut self, now: u64) {
        while let Some(times) = self.times.get_mut(self.taken)
            && times.intended <= now
        {
            times.taken = now;
            if self.free > 0 {
                self.free -= 1;
                times.ready = now;
            } else {
                self.waiting.push_back(self.taken);
            }
            self.taken += 1;
        }
    }

    /// A user is free.
    fn release(&mut self, now: u64) {
        match self.waiting.pop_front() {
            Some(first) => self.times[first].ready = now,
            None => self.free += 1,
        }
    }
}

/// A draw of a distribution with a long tail: nanoseconds, half of them below `median`.
fn log_normal(what: &str, median: u64, sigma: f64, n: u64) -> u64 {
    let key = draws::text(what);
    let radius = (-2.0 * unit(draws::at(key, 2 * n)).ln()).sqrt();
    let normal = radius * (std::f64::consts::TAU * unit(draws::at(key, 2 * n + 1))).cos();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let drawn = median as f64 * (sigma * normal).exp();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and minutes at most"
    )]
    let ns = drawn as u64;
    ns.max(1)
}

/// How long the things of a run take, each by its number; nanoseconds.
#[derive(Clone, Copy)]
struct Delays {
    /// A call of the guest.
    guest: fn(u64) -> u64,
    /// From a request to the first byte of its answer, by the arrival.
    first: fn(u64) -> u64,
    /// From there to the last.
    rest: fn(u64) -> u64,
}

const DRAWN: Delays = Delays {
    guest: |call| log_normal("guest", 10_000, 1.0, call),
    first: |k| log_normal("first byte", 15 * MS, 1.0, k),
    rest: |k| log_normal("rest", 4 * MS, 1.4, k),
};

/// Asks once a turn. A guest that `hears` is done with the turn when it is told of the answer, else at once.
fn guest(time: Time, book: &Arc<Mutex<Book>>, hears: bool, takes: fn(u64) -> u64) -> Arc<dyn Source> {
    let book = Arc::clone(book);
    script(setup(), move || {
        let book = Arc::clone(&book);
        move |starts: &[abi::Start], done: &[abi::Completion], _: &[u8]| {
            let mut output = empty();
            if starts.is_empty() && done.is_empty() {
                return Ok(output);
            }
            let mut book = book.lock().unwrap();
            time.pass(takes(book.calls));
            book.calls += 1;
            for completion in done {
                finish(&mut output, completion.user);
                book.release(time.now());
            }
            for start in starts {
                let k = start.arrival & ((1 << 40) - 1);
                book.times[usize::try_from(k).unwrap()].sent = time.now();
                let asked = request(&mut output, start.user, u32::try_from(k).unwrap());
                if hears {
                    asked.interest = abi::Interest::END;
                } else {
                    finish(&mut output, start.user);
                }
            }
            Ok(output)
        }
    })
}

/// The answer to an arrival, in two parts: some are cut in the head, some in the body.
fn answer(k: u64) -> (Vec<u8>, Vec<u8>) {
    let status = if k.is_multiple_of(50) { "503 Service Unavailable" } else { "200 OK" };
    let body = "x".repeat(usize::try_from(1 + k % 7).unwrap());
    let mut first = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes();
    let cut = if k.is_multiple_of(3) { 9 } else { first.len() - 1 };
    let rest = first.split_off(cut);
    (first, rest)
}

/// The arrival that a request is of: its path is `/user/k`.
fn arrival(request: &str) -> u64 {
    let path = request.split(' ').nth(1).unwrap();
    path.rsplit('/').next().unwrap().parse().unwrap()
}

/// Goes on turn by turn until everything is answered. `late` says how much too late the thread wakes up, by when it was to.
fn drive(
    lockstep: &mut Lockstep,
    time: Time,
    book: &Mutex<Book>,
    hears: bool,
    delays: Delays,
    mut late: impl FnMut(u64) -> u64,
) {
    // What the peer writes: when, on which connection, of which arrival, and whether it is the rest.
    let mut due = BinaryHeap::new();
    for turn in 1_u64.. {
        book.lock().unwrap().take(time.now());
        let (until, requests) = lockstep.work();
        let now = time.now();
        for (stream, text) in requests {
            let k = arrival(&text);
            book.lock().unwrap().bytes_sent += text.len();
            let first = now + (delays.first)(k);
            due.push(Reverse((first, stream, k, false)));
            due.push(Reverse((first + (delays.rest)(k), stream, k, true)));
        }
        {
            let book = book.lock().unwrap();
            if book.answered == book.times.len() && book.free == book.users {
                return;
            }
        }
        let next = due.peek().map_or(until, |Reverse((at, ..))| until.min(*at));
        time.reach(next);
        time.pass(late(next));
        let now = time.now();
        while let Some(Reverse((at, stream, k, is_rest))) = due.peek().copied()
            && at <= now
        {
            due.pop();
            let (first, rest) = answer(k);
            lockstep.write(stream, if is_rest { &rest } else { &first });
            let mut book = book.lock().unwrap();
            let times = &mut book.times[usize::try_from(k).unwrap()];
            if is_rest {
                times.last = now;
                book.answered += 1;
                if !hears {
                    book.release(now);
                }
            } else {
                times.first = now;
            }
        }
        lockstep.hear();
        if turn.is_multiple_of(20_000) {
            lockstep.flip();
        }
    }
}

/// Whether each percentile of a histogram is that of the truth: the highest value that is not told apart from it, so never below
/// it, and above by no more than 1 in 1 024.
fn is_true(name: &str, hist: &Hist, truth: impl Iterator<Item = u64>) {
    let mut truth: Vec<u64> = truth.collect();
    truth.sort_unstable();
    assert_eq!(hist.len(), truth.len() as u64, "{name}");
    let mut shown = format!("{name}:");
    for q in [0.0, 1.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99, 100.0] {
        let true_value = truth[usize::try_from(series::rank(q, hist.len())).unwrap() - 1];
        let found = if q == 100.0 { hist.max().unwrap() } else { hist.percentile(q).unwrap() };
        assert!(
            (true_value..=true_value + true_value / 1_024).contains(&found),
            "p{q} of {name}: {found}, in truth {true_value}"
        );
        shown += &format!(" p{q} {true_value}");
    }
    println!("{shown}");
}

/// Samples of all intervals: of the one series, and the send lag of the one thread.
fn reported(batches: &[v1::SampleBatch]) -> (Merged, Hist) {
    let (mut merged, mut lag) = (Merged::new(), Hist::nanos());
    for batch in batches {
        batch.series.iter().for_each(|series| merged.add_proto(series).unwrap());
        for thread in &batch.threads {
            lag.absorb(Hist::decode(thread.send_lag.as_ref().unwrap()).unwrap());
        }
    }
    (merged, lag)
}

/// What is counted of a run in which each arrival was answered, against its book.
fn counts_agree(book: &Book, counts: &v1::ArrivalCounts, batches: &[v1::SampleBatch], merged: &Merged) {
    let n = book.times.len() as u64;
    closes(counts);
    assert_eq!((counts.scheduled, counts.answered, counts.dropped), (n, n, 0), "{counts:?}");
    let unavailable = n.div_ceil(50);
    assert_eq!((merged.counts.started, merged.counts.answered, merged.counts.requests), (n, n, n));
    assert_eq!((merged.statuses[&200], merged.statuses[&503]), (n - unavailable, unavailable));
    assert_eq!((merged.counts.good, merged.counts.bad, merged.counts.retries), (n, unavailable, 0));
    let bytes = |k| answer(k).0.len() + answer(k).1.len();
    assert_eq!(merged.counts.bytes_received, (0..n).map(bytes).sum::<usize>() as u64);
    assert_eq!(merged.counts.bytes_sent, book.bytes_sent as u64);
    let threads = || batches.iter().flat_map(|batch| &batch.threads);
    assert_eq!(threads().map(|thread| thread.connects).sum::<u64>(), u64::from(book.users));
    assert_eq!(threads().map(|thread| thread.guest_calls).sum::<u64>(), book.calls);
}

/// The times of such a run, against its book.
fn times_agree(book: &Book, merged: &Merged, lag: &Hist) {
    let all = || book.times.iter();
    is_true("latency", &merged.latency, all().map(|t| (t.last - t.intended) / 1_000));
    is_true("service", &merged.service, all().map(|t| (t.last - t.sent) / 1_000));
    is_true("queue", &merged.queue, all().map(|t| t.queue() / 1_000));
    is_true("first byte", &merged.first_byte, all().map(|t| ((t.first - t.sent) / 1_000).max(1)));
    is_true("send lag", lag, all().map(Times::send_lag));
}

/// A run of so many seconds at a rate, until all is answered: what was counted, and the samples of all its intervals.
fn run(
    book: &Arc<Mutex<Book>>,
    (seconds, per_second): (u64, u32),
    (hears, together): (bool, bool),
    delays: Delays,
    mut late: impl FnMut(u64) -> u64,
) -> (v1::ArrivalCounts, Vec<v1::SampleBatch>) {
    let time = Time::new();
    let users = book.lock().unwrap().users;
    let mut lockstep = Lockstep::new(time, guest(time, book, hears, delays.guest), |spec| {
        spec.batch = 2 * users;
        spec.io_uring = together;
    });
    let t0 = lockstep.begin(rate(f64::from(per_second)), Duration::from_secs(seconds), |spec| {
        (spec.connections, spec.total_connections) = (users, users);
        (spec.users, spec.total_users, spec.capacity) = (users, users, users);
    });
    let gap = SECOND / u64::from(per_second);
    book.lock().unwrap().times = (0..seconds * u64::from(per_second))
        .map(|k| Times { intended: t0 + k * gap, ..Times::default() })
        .collect();
    drive(&mut lockstep, time, book, hears, delays, |next| late(next.saturating_sub(t0)));
    lockstep.end()
}

/// So many seconds of drawn delays.
fn drawn(seconds: u64, hears: bool, together: bool) {
    let book = Book::new(USERS);
    let mut wakes = 0;
    let late = |_| {
        wakes += 1;
        log_normal("late", 20_000, 1.2, wakes)
    };
    let (counts, batches) = run(&book, (seconds, RATE), (hears, together), DRAWN, late);
    let book = book.lock().unwrap();
    let (merged, lag) = reported(&batches);
    counts_agree(&book, &counts, &batches, &merged);
    times_agree(&book, &merged, &lag);
    // It was a run that tells: some waited for long, most did not, and nothing was on time to the nanosecond.
    let waited = book.times.iter().filter(|times| times.queue() > 10 * MS).count();
    assert!(waited > book.times.len() / 200 && waited < book.times.len() / 2, "{waited} waited");
    assert!(batches.len() > 1 && book.times.iter().all(|times| times.send_lag() > 0));
}

#[test]
fn percentiles_are_those_of_the_seeded_delays() {
    drawn(25, false, true);
}

#[test]
fn what_a_guest_takes_to_hear_of_an_answer_is_no_part_of_it() {
    drawn(10, true, false);
}

#[test]
fn a_stall_of_the_thread_is_in_the_latency_of_what_it_delayed_and_in_send_lag() {
    /// An arrival each 5 ms, 400 in all; when number 200 is due, the thread is away for so many milliseconds.
    const STALL: u64 = 400;
    let book = Book::new(100);
    let delays = Delays { guest: |_| 0, first: |_| 6 * MS, rest: |_| MS };
    let mut stalled = false;
    let late = |next| {
        let stalls = next >= SECOND && !std::mem::replace(&mut stalled, next >= SECOND);
        if stalls { STALL * MS } else { 0 }
    };
    let (counts, batches) = run(&book, (2, 200), (false, true), delays, late);
    let book = book.lock().unwrap();
    let (merged, lag) = reported(&batches);
    counts_agree(&book, &counts, &batches, &merged);
    times_agree(&book, &merged, &lag);
    // Of those that came due while it was away none was sent before it was back, and what each waited is in both.
    for nth in 0..80 {
        let (waited, rank) = (STALL - 5 * nth, 400 - nth);
        assert!(lag.at_rank(rank).unwrap() >= waited * MS, "{nth}");
        assert!(merged.latency.at_rank(rank).unwrap() >= (waited + 7) * 1_000, "{nth}");
    }
    // There was room for all of them: nothing waited for the target, and all but one took what they always take. That one was
    // answered meanwhile: when its bytes came nobody knows, only that they were read when the thread was back.
    let all_but_one = |ms: u64| std::iter::repeat_n(ms * 1_000, 399).chain([(STALL + 5) * 1_000]);
    is_true("queue", &merged.queue, std::iter::repeat_n(0, 400));
    is_true("service", &merged.service, all_but_one(7));
    is_true("first byte", &merged.first_byte, all_but_one(6));
}
