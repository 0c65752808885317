//! Ports for servers that have to be told where to listen.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// What is handed out: below the ports that Linux gives to connections and to listeners of port 0 (32768 and up), so
/// that a port stays free until its server takes it, and while a server that was killed is away.
const FIRST: u16 = 10_000;
const COUNT: u16 = 22_000;

/// A port of 127.0.0.1 on which nobody listens. A process is given each but once; the ports of processes that run at
/// the same time begin apart.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes that start one after the other have neighbouring ids: their ports lie hundreds apart.
    let begin = std::process::id().wrapping_mul(251);
    for _ in 0..COUNT {
        let next = u32::from(NEXT.fetch_add(1, Ordering::Relaxed)).wrapping_add(begin) % u32::from(COUNT);
        let port = FIRST + u16::try_from(next).unwrap_or_default();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("none of the ports {FIRST} to {} is free", FIRST + COUNT - 1);
}
