//! The scheduler with scripted peers: a load-worker and a `metrics` that say what each test wants, on a real bus and
//! a real store.
#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "this is test code throughout")]

mod api;
mod bench;
mod beside;
mod checks;
mod cycle;
mod decisions;
mod faults;
mod orphans;
mod pace;
mod peers;
mod series_of;
mod steering;
