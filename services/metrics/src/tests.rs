//! The service as others see it: on a bus and a store, with targets that answer.

mod exposition;
mod live;
mod probes;
mod samples;
mod suite;
