//! Without toxics: what is left of a direct connection's throughput, and what a pass costs.
//!
//! Client and server are two threads of this process, the proxy is a process with one thread, as it is by default on two
//! cores; none is bound to a core. On two cores a direct connection has one core for each side, and through the proxy the same two
//! cores carry a third party: what is measured is a machine that has nothing left, not a link that is slow.

use std::time::Duration;

use super::load::{self, Apart, Done};
use super::usage::{Look, Usage};
use super::{PAIRS, median, say};
use crate::program::Program;
use crate::upstream::Upstream;

/// One measurement.
struct Turn {
    per_second: f64,
    units: f64,
    usage: Usage,
}

/// Direct and through the proxy, one after the other.
struct Pair {
    direct: Turn,
    proxied: Turn,
}

impl Pair {
    fn turn(&self, proxied: bool) -> &Turn {
        if proxied { &self.proxied } else { &self.direct }
    }

    /// Share of the machine that others used.
    fn others(&self) -> f64 {
        self.direct.usage.others.max(self.proxied.usage.others)
    }
}

/// The pairs of a measurement that count.
struct Pairs(Vec<Pair>);

impl Pairs {
    async fn take<F: Future<Output = Done>>(
        program: &Program,
        [direct, proxied]: [&str; 2],
        load: impl Fn(String) -> F,
    ) -> Self {
        let take = async |address: &str| {
            let look = Look::now(program.id());
            let done = load(address.to_owned()).await;
            Turn {
                per_second: done.units / done.took.as_secs_f64(),
                units: done.units,
                usage: look.used(program.id()),
            }
        };
        // Once each without being counted: pipes, buffers and caches are as they stay.
        take(direct).await;
        take(proxied).await;
        let mut pairs = Vec::with_capacity(PAIRS);
        for number in 0..PAIRS {
            pairs.push(if number % 2 == 0 {
                let direct = take(direct).await;
                Pair { direct, proxied: take(proxied).await }
            } else {
                let proxied = take(proxied).await;
                Pair { direct: take(direct).await, proxied }
            });
        }
        pairs.sort_by(|a, b| a.others().total_cmp(&b.others()));
        pairs.truncate(PAIRS / 2);
        Self(pairs)
    }

    fn median(&self, of: impl Fn(&Pair) -> f64) -> f64 {
        median(self.0.iter().map(of))
    }

    fn say(&self, what: &str, unit: &str) {
        let share = |pair: &Pair| 100.0 * pair.proxied.per_second / pair.direct.per_second;
        let bounds = (f64::MAX, 0.0_f64);
        let (least, most) =
            self.0.iter().map(share).fold(bounds, |(least, most), share| (least.min(share), most.max(share)));
        say(&format!(
            "{what}\n    direct {:.0} {unit}/s, proxied {:.0} {unit}/s: {:.0} % (pairs from {least:.0} to {most:.0} %)",
            self.median(|pair| pair.direct.per_second),
            self.median(|pair| pair.proxied.per_second),
            self.median(share),
        ));
        for (name, proxied) in [("direct", false), ("proxied", true)] {
            let per_unit = |of: fn(&Usage) -> Duration| {
                self.median(|pair| {
                    1e6 * of(&pair.turn(proxied).usage).as_secs_f64() / pair.turn(proxied).units
                })
            };
            let share = |of: fn(&Usage) -> f64| 100.0 * self.median(|pair| of(&pair.turn(proxied).usage));
            say(&format!(
                "    {name:7} CPU µs/{unit}: client and server {:.1}, proxy {:.1}; of the machine idle {:.0} %, others {:.0} %",
                per_unit(|usage| usage.own),
                per_unit(|usage| usage.proxy),
                share(|usage| usage.idle),
                share(|usage| usage.others),
            ));
        }
    }
}

#[tokio::test]
#[ignore = "a measurement: cargo xtask bench fault-proxy"]
async fn without_toxics() {
    let program = Program::start(&[]);
    let (echo, flood) = (Apart::start(Upstream::echo), Apart::flood());
    let running = core_services::Running::start(core_services::Options::default()).unwrap();
    let target = running.url().trim_start_matches("http://").to_owned();
    let before_echo = program.proxy("echo", &echo.address).await;
    let before_flood = program.proxy("flood", &flood.address).await;
    let before_target = program.proxy("target", &target).await;

    let trips = Pairs::take(&program, [&echo.address, &before_echo], load::round_trips).await;
    let micros = |turn: &Turn| 1e6 / turn.per_second;
    say(&format!(
        "a pass (one way of a round trip of 64 bytes, one at a time) costs {:.1} µs: direct {:.1} µs, proxied {:.1} µs a trip; the proxy's CPU {:.1} µs a pass; of the machine others {:.0} %",
        trips.median(|pair| (micros(&pair.proxied) - micros(&pair.direct)) / 2.0),
        trips.median(|pair| micros(&pair.direct)),
        trips.median(|pair| micros(&pair.proxied)),
        trips.median(|pair| 1e6 * pair.proxied.usage.proxy.as_secs_f64() / pair.proxied.units / 2.0),
        100.0 * trips.median(Pair::others),
    ));
    let requests = Pairs::take(&program, [&target, &before_target], load::requests).await;
    requests.say("HTTP requests to the reference target, 64 at a time", "request");
    let bulk = Pairs::take(&program, [&flood.address, &before_flood], load::bulk).await;
    bulk.say("bytes from server to client, one connection", "MB");
    let bulk = Pairs::take(&program, [&flood.address, &before_flood], load::bulk_of_eight).await;
    bulk.say("bytes from server to client, eight connections", "MB");
    let echoes = Pairs::take(&program, [&echo.address, &before_echo], load::echoes).await;
    echoes.say(
        "echoes of 1 KiB, 32 at a time: a server that does nothing but what the proxy does, too",
        "echo",
    );
}
