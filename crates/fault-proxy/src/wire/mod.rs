//! What the API reads and writes, in Toxiproxy's JSON and a few fields of our own.

mod counters;
mod draws;
mod input;
mod view;

pub use counters::{Counters, ProxyCounters, StreamCounters, ToxicEffects};
pub use draws::{ConnectionDraws, Draws, ToxicDraw};
pub use input::{ProxyInput, ToxicInput};
pub(crate) use input::{lease, named_ttl, ttl};
pub use view::{LeaseView, ProxyView, ToxicView};
