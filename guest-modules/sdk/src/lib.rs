//! What a scenario author builds on.
//!
//! A scenario is a pure state machine over many virtual users. It does no I/O and sees no clock and no
//! randomness but the seed: it says what to send, the load worker sends, times and parses, and the scenario sees
//! the answers it asked to see. In this crate that is one trait, [`Scenario`], and one macro, [`export!`], which
//! makes a WebAssembly component of it. Everything compiles and runs natively too, so that a scenario is tested
//! like any other Rust code, with [`testing::Bench`].
//!
//! ```
//! use gauntlet_sdk::{Completion, Descriptor, Interest, Outbox, Problem, Rng, Scenario, Setup, Turn};
//!
//! /// Puts an item into the basket; when the shop took it, checks out over the same connection.
//! struct Shop {
//!     seed: u64,
//!     put: u32,
//!     checkout: u32,
//!     post: u32,
//!     has_receipt: u32,
//! }
//!
//! impl Scenario for Shop {
//!     fn describe() -> Descriptor {
//!         Descriptor {
//!             name: "shop".into(),
//!             version: env!("CARGO_PKG_VERSION").into(),
//!             protocol: "http".into(),
//!             config_schema: r#"{ "type": "object" }"#.into(),
//!         }
//!     }
//!
//!     fn configure(config: &str, seed: u64, _users: u32) -> Result<(Self, Setup), Vec<Problem>> {
//!         if config.trim().is_empty() {
//!             return Err(vec![Problem::new("config", "is empty", "write config = {} in the plan")]);
//!         }
//!         let mut setup = Setup::default();
//!         let shop = Shop {
//!             seed,
//!             put: setup.step("put"),
//!             checkout: setup.step("checkout"),
//!             post: setup.method("POST"),
//!             has_receipt: setup.check("has a receipt"),
//!         };
//!         setup.body_limit = 4096;
//!         Ok((shop, setup))
//!     }
//!
//!     fn start(&mut self, turn: &Turn<'_>, out: &mut Outbox<'_>) {
//!         // The same arrival draws the same item, whichever worker it falls to.
//!         let item = Rng::for_arrival(self.seed, turn.arrival, 0).below(1000);
//!         out.request(turn.user, 0, self.put)
//!             .method(self.post)
//!             .target("/basket/")
//!             .target_fmt(format_args!("{item}"))
//!             .header("content-type", "application/json")
//!             .body(br#"{"count":1}"#)
//!             .interest(Interest::END)
//!             .send();
//!     }
//!
//!     fn done(&mut self, done: &Completion<'_>, out: &mut Outbox<'_>) {
//!         if done.seq == 0 && done.is_success() {
//!             out.request(done.user, 1, self.checkout)
//!                 .method(self.post)
//!                 .target("/checkout")
//!                 .interest(Interest::END | Interest::BODY)
//!                 .send();
//!         } else {
//!             if done.seq == 1 {
//!                 out.verdict(done.user, done.seq, self.has_receipt, done.body_contains("receipt"));
//!             }
//!             out.finish(done.user, 250_000);
//!         }
//!     }
//! }
//!
//! gauntlet_sdk::export!(Shop);
//!
//! # fn main() -> Result<(), Vec<Problem>> {
//! use gauntlet_sdk::testing::{Answer, Bench};
//!
//! let mut bench = Bench::<Shop>::new("{}", 7, 10)?;
//! let first = bench.start(3, 0, &[]);
//! assert_eq!(first.requests[0].method, "POST");
//! assert!(first.requests[0].target.starts_with("/basket/"));
//!
//! let second = bench.answer(&[Answer::to(&first.requests[0]).status(200)]);
//! let last = bench.answer(&[Answer::to(&second.requests[0]).status(200).body("receipt 12")]);
//! assert!(last.verdicts[0].pass);
//! assert_eq!(last.finished[0].think_us, 250_000);
//! # Ok(())
//! # }
//! ```
//!
//! # Rules of the house
//!
//! - **Draw from the arrival, not from state.** [`Rng::for_arrival`] is a function of (seed, arrival, stream), so
//!   a run repeats exactly whatever the number of workers, threads and batches.
//! - **End every turn.** A user takes no new turn before [`Outbox::finish`]; a turn that is never finished leaves
//!   its user busy until the phase ends.
//! - **Ask only for what you read.** Without [`Interest`] a request is fired and measured, and the scenario is not
//!   called for it. Checks on status, header, body and duration are [`Expectation`]s: the worker makes them.
//! - **Keep a call short.** The worker interrupts a call that overruns its deadline; the users of that instance
//!   then start anew.
//!
//! # Streams
//!
//! With [`Interest::EVENTS`], an answer of type `text/event-stream` comes event by event: each is a [`Completion`] of kind
//! [`CompletionKind::Event`] with its data as `body`, [`Completion::event_name`], [`Completion::event_id`], and in
//! `last_byte_us` the time from the send to when the read returned that brought its end. With [`Interest::HEAD`], too, a
//! [`CompletionKind::Head`] comes first. The end comes as of any answer, with the number of events; an event that the end
//! cuts off is none. [`Interest::STREAM_SUMMARY`] alone is the end only, with the number and the time of the first. An
//! answer of another type has no events. The deadline is that of the whole stream. What a call takes is the target's
//! back-pressure: no more of a stream is read until the scenario was told what came.
//!
//! ```
//! use gauntlet_sdk::{Completion, Outbox};
//!
//! /// Time to first event, and between events: what a token of a language model takes.
//! struct Pace {
//!     step: u32,
//!     first: u32,
//!     gap: u32,
//!     /// Of each user's stream: when the latest event came, microseconds from the send.
//!     latest: Vec<u32>,
//! }
//!
//! impl Pace {
//!     fn event(&mut self, event: &Completion<'_>, out: &mut Outbox<'_>) {
//!         let Some(latest) = self.latest.get_mut(event.user as usize) else { return };
//!         if event.events == 1 {
//!             out.observe(self.step, self.first, f64::from(event.first_event_us));
//!         } else {
//!             out.observe(self.step, self.gap, f64::from(event.last_byte_us - *latest));
//!         }
//!         *latest = event.last_byte_us;
//!     }
//! }
//! ```
//!
//! # Building
//!
//! The crate is a `cdylib` (`crate-type = ["cdylib", "rlib"]`) for `wasm32-unknown-unknown`; `cargo xtask guests`
//! builds every such package in `guest-modules/` and writes components to `target/guests/`.

// The generated code, here and in the crates that export a scenario, names this crate from outside.
extern crate self as gauntlet_sdk;

mod engine;
mod headers;
pub mod log;
mod outbox;
mod rng;
mod setup;
pub mod testing;
mod turn;

pub use engine::Engine;
pub use headers::Headers;
pub use outbox::{Draft, Outbox, Part};
pub use rng::Rng;
pub use setup::{Descriptor, Expectation, Feed, Problem, RowOrder, Rule, Setup};
pub use turn::{Completion, CompletionKind, Connection, Failure, Interest, Turn};

/// A scenario: what each virtual user does in its turns.
///
/// One value of the implementing type carries the state of all users of one load thread.
pub trait Scenario: Sized + 'static {
    /// What this guest is; known without a configuration.
    fn describe() -> Descriptor;

    /// Takes the scenario's configuration (JSON) and prepares `users` virtual users, numbered from 0.
    ///
    /// # Errors
    /// All problems of the configuration at once, each with its place and its mend.
    fn configure(config: &str, seed: u64, users: u32) -> Result<(Self, Setup), Vec<Problem>>;

    /// A free user begins a turn. The turn lasts until [`Outbox::finish`].
    fn start(&mut self, turn: &Turn<'_>, out: &mut Outbox<'_>);

    /// Something that was asked for has happened: an answer, an event, a wake-up, a cancellation.
    fn done(&mut self, completion: &Completion<'_>, out: &mut Outbox<'_>);
}

/// Generated from `wit/scenario.wit`; authors never meet it.
#[doc(hidden)]
pub mod bindings {
    #![allow(clippy::all, clippy::mem_forget, reason = "generated from wit/scenario.wit")]
    wit_bindgen::generate!({
        path: "../../wit",
        world: "scenario",
        generate_all,
        additional_derives: [PartialEq],
        runtime_path: "::gauntlet_sdk::__runtime",
        bitflags_path: "crate::__runtime::bitflags",
        default_bindings_module: "gauntlet_sdk::bindings",
        export_macro_name: "export_generator",
        pub_export_macro: true,
    });
}

#[doc(hidden)]
pub use wit_bindgen::rt as __runtime;

/// Makes a component of a [`Scenario`]; write it once, in the crate's root. Natively it only checks the type.
#[macro_export]
macro_rules! export {
    ($scenario:ty) => {
        const _: () = {
            struct Exported;

            ::std::thread_local! {
                static ENGINE: ::std::cell::RefCell<$crate::Engine<$scenario>> =
                    const { ::std::cell::RefCell::new($crate::Engine::new()) };
            }

            impl $crate::bindings::exports::gauntlet::scenario::generator::Guest for Exported {
                fn describe() -> $crate::bindings::gauntlet::scenario::types::Descriptor {
                    $crate::Engine::<$scenario>::describe()
                }

                fn configure(
                    config: ::std::string::String,
                    seed: u64,
                    users: u32,
                ) -> ::std::result::Result<
                    $crate::bindings::gauntlet::scenario::types::Setup,
                    ::std::vec::Vec<$crate::bindings::gauntlet::scenario::types::Problem>,
                > {
                    ENGINE.with_borrow_mut(|engine| engine.configure(&config, seed, users))
                }

                fn step(
                    now_us: u64,
                    starts: ::std::vec::Vec<$crate::bindings::gauntlet::scenario::types::Start>,
                    done: ::std::vec::Vec<$crate::bindings::gauntlet::scenario::types::Completion>,
                    arena: ::std::vec::Vec<u8>,
                ) -> $crate::bindings::gauntlet::scenario::types::Output {
                    ENGINE.with_borrow_mut(|engine| engine.step(now_us, &starts, &done, &arena))
                }
            }

            #[cfg(target_arch = "wasm32")]
    $crate::bindings::export_generator!(Exported with_types_in $crate::bindings);
        };
    };
}
