//! The scheduler with scripted peers: a load-worker and a `metrics` that say what each test wants, on a real bus and
//! a real store.
#![allow(missing_docs, reason = "tests say what they show by their names")]

mod api;
mod bench;
mod checks;
mod cycle;
mod decisions;
mod orphans;
mod pace;
mod peers;
mod series_of;
mod steering;
