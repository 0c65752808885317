//! The host against guests that behave, guests that do not, and files that are no guests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests say what they expect")]

mod basket;
mod cache;
mod compiling;
mod components;
mod hostile;
mod refused;
mod sessions;
mod wat;
