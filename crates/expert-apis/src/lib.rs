//! The client's side of the APIs of Anthropic (Messages), Gemini (generateContent), DeepSeek and OpenRouter (chat completions).
//!
//! [`Api`] says where a query goes and what its body is; [`event`] and [`judge`] read what comes back into an [`Answer`], or say
//! by a [`Fault`] what went wrong, whether another attempt is worth it and how long it has to wait. It knows no HTTP client and
//! reads no clock, so that guests can use it.
#![forbid(unsafe_code)]

mod answer;
mod api;
mod document;
mod fault;
mod reading;

pub use answer::{Answer, Stop};
pub use api::{APIS, Api, Asked, Envelope};
pub use fault::{Cause, Fault, Told};
pub use reading::{event, judge};
