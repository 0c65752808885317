//! How Gauntlet stands to each other client of the measurement: one ratio for each two, of runs of the same round.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::cases::Case;
use super::results::{Row, Run, Spread, first_per_cpu, lag_p99, times};

/// A figure that is compared.
struct Figure {
    title: &'static str,
    /// Its name in JSON.
    key: &'static str,
    of: fn(&Run) -> Option<f64>,
}

/// More is better.
const COST: Figure =
    Figure { title: "requests per CPU-second", key: "requests_per_cpu_second", of: first_per_cpu };

/// Less is better.
const LAG: Figure = Figure { title: "send lag p99", key: "send_lag_p99", of: lag_p99 };

/// What is compared in a case; clients that keep a schedule may differ in what it costs them, too.
const fn figures(case: Case) -> &'static [Figure] {
    match case {
        Case::Memory => &[],
        Case::Paced | Case::PacedHard => &[LAG, COST],
        Case::Closed | Case::Connections | Case::Json | Case::Tls | Case::Http2 => &[COST],
    }
}

/// Gauntlet's rows, and all others.
fn sides(rows: &[Row]) -> (Vec<&Row>, Vec<&Row>) {
    rows.iter().partition(|row| row.client.is_gauntlet())
}

/// Variants of Gauntlet below each other, other clients beside each other; empty where there is nothing to compare.
pub(super) fn table(case: Case, rows: &[Row]) -> String {
    let (ours, peers) = sides(rows);
    let mut text = String::new();
    if ours.is_empty() || peers.is_empty() {
        return text;
    }
    for figure in figures(case) {
        let _ = write!(text, "{:<30}", format!("× {} of", figure.title));
        for peer in &peers {
            let _ = write!(text, " {:>24}", peer.name);
        }
        text.push('\n');
        for row in &ours {
            let _ = write!(text, "{:<30}", row.name);
            for peer in &peers {
                let ratio = row.ratio(peer, figure.of, figure.of);
                let _ = write!(text, " {:>24}", Spread::shown(ratio, times));
            }
            text.push('\n');
        }
    }
    text
}

/// The same for machines: an object for each two.
pub(super) fn json(case: Case, rows: &[Row]) -> Value {
    let (ours, peers) = sides(rows);
    let pairs = ours.iter().flat_map(|row| peers.iter().map(move |peer| (row, peer)));
    let of_pair = |(row, peer): (&&Row, &&Row)| {
        let mut pair = Map::new();
        pair.insert("client".to_owned(), json!(row.name));
        pair.insert("peer".to_owned(), json!(peer.name));
        for figure in figures(case) {
            let ratio = row.ratio(peer, figure.of, figure.of);
            pair.insert(figure.key.to_owned(), Spread::json(ratio));
        }
        Value::Object(pair)
    };
    if figures(case).is_empty() { json!([]) } else { pairs.map(of_pair).collect() }
}

#[cfg(test)]
mod tests {
    use super::super::clients::{Client, Pace, Said};
    use super::*;

    /// Each run has used a second of CPU time.
    fn row(client: Client, runs: &[Option<(u64, f64)>]) -> Row {
        let run = |&(requests, lag_p99_us): &(u64, f64)| {
            let pace =
                Pace { wanted: 0, sent: 0, dropped: 0, lag_p50_us: 0.0, lag_p99_us, lag_max_us: lag_p99_us };
            let said = Said { requests, pace: Some(pace), ..Said::default() };
            let cpu = vec![("process", 1.0)];
            Run { said, cpu, wall: 1.0, peak_memory: None, others: 0.0, details: Value::Null }
        };
        let runs = runs.iter().map(|figures| figures.as_ref().map(run)).collect();
        Row { client, name: client.name().to_owned(), runs, failures: vec![] }
    }

    fn words(line: &str) -> Vec<&str> {
        line.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect()
    }

    #[test]
    fn each_variant_is_compared_with_each_peer_of_the_same_round() {
        let rows = [
            row(Client::Wrk, &[Some((100, 1.0)), Some((50, 1.0)), None]),
            row(Client::Oha, &[None, Some((25, 1.0)), Some((300, 1.0))]),
            row(Client::GauntletNone, &[Some((200, 1.0)), None, None]),
            row(Client::GauntletStatus, &[Some((150, 1.0)), Some((50, 1.0)), Some((900, 1.0))]),
        ];
        let text = table(Case::Closed, &rows);
        let lines: Vec<_> = text.lines().map(words).collect();
        assert_eq!(lines[0], ["× requests per CPU-second of", "wrk", "oha"], "{text}");
        assert_eq!(lines[1], ["gauntlet-none", "2.00 (2.00–2.00)", "–"], "{text}");
        assert_eq!(lines[2], ["gauntlet-status", "1.25 (1.00–1.50)", "2.50 (2.00–3.00)"], "{text}");
        let pairs = json(Case::Closed, &rows);
        assert_eq!(pairs.as_array().map(Vec::len), Some(4), "{pairs}");
        let pair = &pairs[3];
        assert_eq!((&pair["client"], &pair["peer"]), (&json!("gauntlet-status"), &json!("oha")));
        assert_eq!(pair["requests_per_cpu_second"], json!({ "min": 2.0, "median": 2.5, "max": 3.0 }));
        assert_eq!(pairs[1]["requests_per_cpu_second"], Value::Null, "no round in common");
    }

    #[test]
    fn on_a_schedule_lateness_is_compared_and_of_one_client_nothing() {
        let raw = row(Client::Raw, &[Some((100, 10.0))]);
        let ours = row(Client::GauntletStatus, &[Some((50, 25.0))]);
        let early = row(Client::GauntletNone, &[Some((50, 0.025))]);
        let text = table(Case::Paced, &[raw, ours.clone(), early]);
        let lines: Vec<_> = text.lines().map(words).collect();
        assert_eq!(lines[0], ["× send lag p99 of", "raw"], "{text}");
        assert_eq!(lines[1], ["gauntlet-status", "2.50 (2.50–2.50)"], "{text}");
        assert_eq!(lines[2], ["gauntlet-none", "0.0025 (0.0025–0.0025)"], "{text}");
        assert_eq!(lines[4], ["gauntlet-status", "0.50 (0.50–0.50)"], "{text}");
        assert_eq!(table(Case::Paced, &[ours]), "");
    }
}
