//! The availability of experts, by phase and by what went wrong.

use protocol::event::Event;

use super::*;
use crate::figures::percent;

/// Of a phase: its index, and how often a check passed and failed.
type Counts = (usize, u64, u64);

/// A run with these checks of its scenario.
fn with_checks(checks: &[(&str, &[Counts])]) -> RunData {
    let mut data = run();
    let names = data.history.iter_mut().find_map(|entry| match &mut entry.event {
        Event::WorkersReady { scenarios, .. } => scenarios.first_mut(),
        _ => None,
    });
    names.unwrap().checks = checks.iter().map(|(name, _)| (*name).to_owned()).collect();
    for (check, (_, counts)) in (0_u32..).zip(checks) {
        for &(phase, passed, failed) in *counts {
            data.series.phases[phase].series[0].checks.push(v1::CheckCount { check, passed, failed });
        }
    }
    data
}

fn page(data: &RunData) -> String {
    html::render(data, &Summary::new(data)).unwrap()
}

#[test]
fn experts_have_their_availability_by_phase_and_the_causes_of_their_failures() {
    let data = with_checks(&[
        ("claude: answers", &[(3, 90, 10), (4, 30, 30)]),
        ("claude: cause: rate limited", &[(3, 0, 4), (4, 0, 3)]),
        ("claude: cause: timeout", &[(3, 0, 6), (4, 0, 1_000)]),
        ("gemini <1>: answers", &[(4, 60, 0)]),
        ("circle: quorum", &[(3, 100, 0)]),
    ]);
    let page = page(&data);
    let (_, table) = page.split_once("<h2>Availability of experts</h2>").unwrap();
    let (table, _) = table.split_once("</table>").unwrap();
    assert!(table.contains(
        "<th>http</th><th class=\"n\">medium</th><th class=\"n\">heavy</th><th class=\"n\">all</th>"
    ));
    let rows: Vec<&str> = table.split("<tr>").skip(2).collect();
    let [claude, gemini] = rows[..] else { panic!("{table}") };
    let has = |row: &str, texts: &[String]| {
        let mut rest = row;
        for text in texts {
            rest = rest.split_once(text.as_str()).unwrap_or_else(|| panic!("no {text} in {rest} of {row}")).1;
        }
    };
    let counted = |share: f64, of: &str| format!("{}</div><div class=\"small\">{of}</div>", percent(share));
    has(
        claude,
        &[
            "<b>claude</b>".into(),
            counted(0.9, "90 of 100"),
            counted(0.5, "30 of 60"),
            counted(0.75, "120 of 160"),
        ],
    );
    let causes = format!("<td>timeout × {}, rate limited × 7</td>", crate::figures::count(1_006));
    has(claude, &[causes]);
    has(
        gemini,
        &["<b>gemini &lt;1&gt;</b>".into(), "–".into(), counted(1.0, "60 of 60"), "<td>none</td>".into()],
    );
}

#[test]
fn without_experts_there_is_no_such_table() {
    for checks in [&[][..], &[("item: status", &[(3, 1, 1)][..]), (": answers", &[(3, 1, 1)])]] {
        assert!(!page(&with_checks(checks)).contains("Availability of experts"), "{checks:?}");
    }
}
