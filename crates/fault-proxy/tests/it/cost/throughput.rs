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

/// All turns of a measurement.
struct Turns {
    direct: Vec<Turn>,
    proxied: Vec<Turn>,
}

impl Turns {
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
        let mut all = Self { direct: Vec::new(), proxied: Vec::new() };
        for pair in 0..PAIRS {
            if pair % 2 == 0 {
                all.direct.push(take(direct).await);
                all.proxied.push(take(proxied).await);
            } else {
                all.proxied.push(take(proxied).await);
                all.direct.push(take(direct).await);
            }
        }
        all
    }

    /// The proxied share of the direct throughput: the median of the pairs, the least and the most.
    fn share(&self) -> (f64, f64, f64) {
        let pairs = self.direct.iter().zip(&self.proxied);
        let shares: Vec<f64> =
            pairs.map(|(direct, proxied)| 100.0 * proxied.per_second / direct.per_second).collect();
        let bounds = (f64::MAX, 0.0_f64);
        let (least, most) =
            shares.iter().fold(bounds, |(least, most), share| (least.min(*share), most.max(*share)));
        (median(shares), least, most)
    }

    fn say(&self, what: &str, unit: &str) {
        let (share, least, most) = self.share();
        let [direct, proxied] =
            [&self.direct, &self.proxied].map(|turns| median(turns.iter().map(|turn| turn.per_second)));
        say(&format!(
            "{what}\n    direct {direct:.0} {unit}/s, proxied {proxied:.0} {unit}/s: {share:.0} % (pairs from {least:.0} to {most:.0} %)"
        ));
        for (name, turns) in [("direct", &self.direct), ("proxied", &self.proxied)] {
            let per_unit = |time: fn(&Usage) -> Duration| {
                median(turns.iter().map(|turn| 1e6 * time(&turn.usage).as_secs_f64() / turn.units))
            };
            let share = |part: fn(&Usage) -> f64| 100.0 * median(turns.iter().map(|turn| part(&turn.usage)));
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

    let trips = Turns::take(&program, [&echo.address, &before_echo], load::round_trips).await;
    let micros = |turn: &Turn| 1e6 / turn.per_second;
    let [direct, proxied] = [&trips.direct, &trips.proxied].map(|turns| median(turns.iter().map(micros)));
    let passes = trips
        .direct
        .iter()
        .zip(&trips.proxied)
        .map(|(direct, proxied)| (micros(proxied) - micros(direct)) / 2.0);
    say(&format!(
        "a pass (one way of a round trip of 64 bytes, one at a time) costs {:.1} µs: direct {direct:.1} µs, proxied {proxied:.1} µs",
        median(passes)
    ));
    let requests = Turns::take(&program, [&target, &before_target], load::requests).await;
    requests.say("HTTP requests to the reference target, 64 at a time", "request");
    let bulk = Turns::take(&program, [&flood.address, &before_flood], load::bulk).await;
    bulk.say("bytes from server to client, one connection", "MB");
    let bulk = Turns::take(&program, [&flood.address, &before_flood], load::bulk_of_eight).await;
    bulk.say("bytes from server to client, eight connections", "MB");
    let echoes = Turns::take(&program, [&echo.address, &before_echo], load::echoes).await;
    echoes.say(
        "echoes of 1 KiB, 32 at a time: a server that does nothing but what the proxy does, too",
        "echo",
    );
}
