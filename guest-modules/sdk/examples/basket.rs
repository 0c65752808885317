//! A small scenario with state: put an item into the basket, then check out. `cargo xtask guests` makes a component of
//! it; the tests of the WebAssembly host run that, and its costs are measured with it.
//!
//! Configuration: `{}`, or the word `stateless` for turns of a single request that nobody waits for.

use gauntlet_sdk::{
    Completion, Descriptor, Interest, Outbox, Problem, Rng, RowOrder, Rule, Scenario, Setup, Turn, log,
};

/// What the users of the scenario have done so far.
pub struct Basket {
    seed: u64,
    stateless: bool,
    /// How many turns each user has begun.
    turns: Vec<u32>,
    put: u32,
    checkout: u32,
    post: u32,
    has_receipt: u32,
    total: u32,
}

impl Scenario for Basket {
    fn describe() -> Descriptor {
        Descriptor {
            name: "basket".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            protocol: "http".into(),
            config_schema: r#"{ "type": "object", "additionalProperties": false }"#.into(),
        }
    }

    fn configure(config: &str, seed: u64, users: u32) -> Result<(Self, Setup), Vec<Problem>> {
        let stateless = match config {
            "{}" => false,
            "stateless" => true,
            _ => return Err(vec![Problem::new("config", format!("is {config}"), "write {} or stateless")]),
        };
        let mut setup = Setup { stateless, body_limit: 4096, ..Setup::default() };
        let basket = Basket {
            seed,
            stateless,
            turns: vec![0; usize::try_from(users).unwrap_or(0)],
            put: setup.step("put"),
            checkout: setup.step("checkout"),
            post: setup.method("POST"),
            has_receipt: setup.check("has a receipt"),
            total: setup.metric("total"),
        };
        setup.expect(basket.put, "created", Rule::Status(vec![(200, 201)]));
        setup.feeds.push(gauntlet_sdk::Feed {
            file: "items.csv".into(),
            columns: vec!["id".into()],
            order: RowOrder::Sequential,
        });
        log::info("ready");
        Ok((basket, setup))
    }

    fn start(&mut self, turn: &Turn<'_>, out: &mut Outbox<'_>) {
        let count = Rng::for_arrival(self.seed, turn.arrival, 0).between(1, 9);
        if let Some(turns) = usize::try_from(turn.user).ok().and_then(|user| self.turns.get_mut(user)) {
            *turns += 1;
        }
        let interest = if self.stateless { Interest::NONE } else { Interest::END };
        out.request(turn.user, 0, self.put)
            .method(self.post)
            .target("/basket/")
            .target_escaped(turn.row(0, 0))
            .header("content-type", "application/json")
            .header("accept", "application/json")
            .body_fmt(format_args!(r#"{{"count":{count}}}"#))
            .interest(interest)
            .send();
        if self.stateless {
            out.finish(turn.user, 0);
        }
    }

    fn done(&mut self, done: &Completion<'_>, out: &mut Outbox<'_>) {
        if done.seq == 0 && done.is_success() {
            out.request(done.user, 1, self.checkout)
                .method(self.post)
                .target("/checkout")
                .interest(Interest::END | Interest::BODY)
                .send();
            return;
        }
        if done.seq == 1 {
            // A panic on purpose, for tests of how traps are told.
            assert!(done.status != 599, "the shop is on fire");
            out.verdict(done.user, done.seq, self.has_receipt, done.body_contains("receipt"));
            out.observe(self.checkout, self.total, 12.5);
        }
        out.finish(done.user, 250_000);
    }
}

gauntlet_sdk::export!(Basket);
