//! Weighted voting, for whoever asks several experts the same question.
//!
//! [`label()`] makes a vote of the text of an answer; [`outcome`] counts votes by [`Rules`], and [`decided`] tells when those that
//! are outstanding can change nothing any more. All of it is pure data in whole numbers, without clock, draws or I/O, so that a
//! guest and a server count alike, and the same votes give the same outcome in whatever order they come.
#![forbid(unsafe_code)]

mod label;
mod vote;

pub use label::{Vote, label};
pub use vote::{Ballot, Outcome, Rules, Tally, Tie, decided, outcome};
