//! End-to-end tests: the real command against real servers. Those that measure run alone (`gauntlet_tests::Alone`), the others
//! several at a time (`gauntlet_tests::Beside`).
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod backpressure;
mod bad_input;
mod chaos;
mod chaos_crash_matrix;
mod circle;
mod control;
mod cost;
mod cost_of_samples;
mod counting;
mod deployed;
mod environment;
mod examples;
mod expert;
mod few_ports;
mod fleet;
mod guests;
mod knee;
mod listeners;
mod lost_worker;
mod mcp;
mod partition;
mod plans;
mod pre_phase;
mod reference;
mod refusals;
mod reproducible;
mod restarts;
mod seven_phases;
mod signals;
mod splitmix;
mod stall;
mod start_up;
mod traces;
mod trial;
mod truth;
mod users;
mod validity;
mod walk;
