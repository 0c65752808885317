//! Load threads, mostly with a native generator in the guest's place, one request a turn, nothing heard of the answer. What
//! they cost, in three ways:
//!
//! * `load-thread count ADDR TURNS CONNECTIONS [WAY]`: a fixed number of requests, for `cargo xtask bench hot-path`, which
//!   counts instructions, allocations and system calls of it. A way is `guest GUEST.wasm CACHE`: the http guest makes the
//!   requests; `tls CA` and `http2 CA`: over TLS, with HTTP/1.1 or HTTP/2.
//! * `load-thread pace [CONNECTIONS] [SECONDS] [RATE] [STREAMS ADDR]`: requests per second of the load thread's own CPU time as
//!   fast as it can, and its send lag at a paced rate, against a bare server on another thread. With `STREAMS` and the
//!   address of a server that speaks it, HTTP/2 without TLS: so many requests at a time on each connection.
//! * `load-thread scale [SECONDS] [ROUNDS] [CONNECTIONS]`: one load thread and two, in turns, each with its server on the
//!   same thread and Unix sockets between them: nothing of it leaves the thread's core. For `cargo xtask bench threads`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "what was measured goes to whoever started it")]

mod count;
mod get;
mod pace;
mod rig;
mod scale;

use std::error::Error;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["count", addr, turns, connections, way @ ..] => {
            count::run(addr.parse()?, turns.parse()?, connections.parse()?, way)
        }
        ["pace", rest @ ..] => pace::run(rest),
        ["scale", rest @ ..] => scale::run(rest),
        _ => Err("load-thread wants count, pace or scale".into()),
    }
}

/// The word at this place as a number, or the default where there is none.
fn number(words: &[&str], at: usize, default: u32) -> Result<u32> {
    Ok(words.get(at).map_or(Ok(default), |word| word.parse())?)
}
