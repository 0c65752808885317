//! The platform on real processes.
#![forbid(unsafe_code)]

mod identity;
mod support;
