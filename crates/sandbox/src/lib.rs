//! The WebAssembly host: the only crate that knows wasmtime.
//!
//! A guest is a component of the world `gauntlet:scenario/scenario` (`wit/scenario.wit`). It has no WASI, no clock, no
//! randomness, no sockets: one import (`log`) and three exports. A [`Host`] loads it, an [`Instance`] runs one scenario
//! for one thread.
//!
//! # What holds a guest
//!
//! | limit | how | breach |
//! |---|---|---|
//! | time a call | epochs, a ticker thread; counted in the thread's own CPU time | [`FaultKind::Deadline`] |
//! | linear memory | the store's limiter | [`FaultKind::Memory`] |
//! | output a call | hostcall fuel, spent as the output is read out of the guest | [`FaultKind::Output`] |
//! | what the output says | every slice, index and header block is checked once ([`Instance::step`]) | [`FaultKind::BadOutput`] |
//! | log lines a second | counted, the rest dropped ([`Instance::log_lines`]) | none |
//! | compiling | a child process with time and memory limits | [`LoadError::Compile`] |
//!
//! A fault poisons its own instance and nothing else: wasmtime refuses further calls into a store that trapped, so
//! each instance has a store of its own, and a new one costs microseconds.
//!
//! # Why synchronous calls without component-model concurrency
//!
//! A guest computes and never waits. Concurrency support is on by default in wasmtime and triples the price of every
//! call into the guest; synchronous calls on the load thread cost half of asynchronous ones.

pub mod abi;
mod cache;
mod compile;
mod config;
mod engine;
mod error;
mod host;
mod instance;
mod output;
mod world;

pub use compile::compile_file;
pub use config::{Compile, HostConfig, Limits};
pub use error::{ConfigureError, Fault, FaultKind, HostError, LoadError};
pub use host::{Guest, Host};
pub use instance::{Instance, LogLines};
