//! End-to-end tests: the real command against real servers. One at a time (`gauntlet_tests::Alone`): they measure.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod backpressure;
mod bad_input;
mod chaos;
mod chaos_crash_matrix;
mod control;
mod cost;
mod cost_of_samples;
mod counting;
mod deployed;
mod few_ports;
mod guests;
mod knee;
mod listeners;
mod lost_worker;
mod partition;
mod plans;
mod pre_phase;
mod refusals;
mod reproducible;
mod restarts;
mod seven_phases;
mod signals;
mod stall;
mod start_up;
mod traces;
mod truth;
mod users;
mod validity;
