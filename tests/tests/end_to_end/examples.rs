//! The plans under `examples/` are what users begin with: all of them are good, and those of the README print what stands there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gauntlet_tests::gauntlet::{command, start_run};
use gauntlet_tests::mcp_servers::McpServer;
use gauntlet_tests::{Alone, Beside};

use crate::expert::aimock::Aimock;
use crate::mcp::alone_on_a_network;
use crate::plans::assert_closes;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn plans(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let (dirs, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let toml = files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    toml.chain(dirs.iter().flat_map(|dir| plans(dir))).collect()
}

#[test]
fn every_example_is_a_good_plan() {
    let dir = Beside::new();
    let plans = plans(&root().join("examples"));
    assert!(plans.len() >= 14, "{plans:?}");
    for plan in plans {
        let plan = plan.display().to_string();
        assert!(
            command(dir.path(), &["plan", "check", &plan]).expect(0).stdout.contains(": good;"),
            "{plan}"
        );
    }
}

/// The lines that the README shows for `gauntlet run examples/NAME`, as words: numbers are another day's.
fn shown(name: &str) -> Vec<Vec<String>> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let begin = format!("$ gauntlet run examples/{name}\n");
    let (_, shown) = readme.split_once(&begin).unwrap();
    let (shown, _) = shown.split_once("```").unwrap();
    shown.lines().map(words).collect()
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// What is another one in a test than in the example: how fast the programs of the tests are, on whatever else this machine does,
/// says nothing of the example.
const PATIENT: [(&str, &str); 2] = [
    ("p(95) < 500ms", "p(95) < 30s"),
    ("slo = { ttft = \"1s\", tpot = \"100ms\" }", "slo = { ttft = \"30s\", tpot = \"30s\" }"),
];

/// Runs an example as the README says, its one URL changed, its phases shortened and its load scaled, and compares what it prints
/// with what the README shows: the same columns, a row for each phase, the same thresholds.
fn runs_as_shown(dir: &Path, name: &str, (from, to): (&str, &str), scales: [&str; 2]) {
    let text = std::fs::read_to_string(root().join("examples").join(name)).unwrap();
    assert_eq!(text.lines().filter(|line| line.starts_with(&format!("url = \"{from}\""))).count(), 1);
    let text = text.replace(&format!("url = \"{from}\""), &format!("url = \"{to}\""));
    let text = PATIENT.iter().fold(text, |text, (from, to)| text.replace(from, to));
    let text = format!("{text}\n\n[validity]\njudge = false\n");
    let scales = ["--time-scale", scales[0], "--load-scale", scales[1]];
    let ended = start_run(dir, &text, &scales).wait(Duration::from_secs(180)).expect(0);
    let printed: Vec<_> = ended.stdout.lines().map(words).collect();
    let shown = shown(name);
    assert!(printed.contains(&shown[0]), "no line {:?} in\n{}", shown[0], ended.stdout);
    assert!(shown[0].starts_with(&["phase".to_owned(), "time".to_owned()]), "{shown:?}");
    // The rows of the first table: the phases stand in others, too.
    let of_phases = |lines: &[Vec<String>]| {
        let table = lines.iter().skip_while(|line| **line != shown[0]).skip(1);
        table.map_while(|row| row.first().cloned()).collect::<Vec<_>>()
    };
    assert_eq!(of_phases(&printed), of_phases(&shown), "{}", ended.stdout);
    let held = |lines: &[Vec<String>]| {
        let held = lines.iter().filter(|line| line.first().is_some_and(|word| word == "✓"));
        held.map(|line| {
            line.iter().take_while(|word| *word != "seen:").cloned().collect::<Vec<_>>().join(" ")
        })
        .collect::<Vec<_>>()
    };
    let as_run: Vec<_> = held(&shown).iter().map(|line| line.replace(PATIENT[0].0, PATIENT[0].1)).collect();
    for line in &as_run {
        assert!(held(&printed).contains(line), "no {line:?} in\n{}", ended.stdout);
    }
    let summary = ended.summary();
    let phases = summary["phases"].as_array().unwrap();
    assert_eq!(phases.len(), of_phases(&shown).len());
    for phase in phases {
        assert_closes(phase);
        assert!(phase["arrivals"]["answered"].as_u64().is_some_and(|count| count > 0), "{phase}");
    }
}

#[test]
fn the_example_of_mcp_prints_what_the_readme_shows() {
    alone_on_a_network("examples/mcp.toml against server-everything (run as root)", || {
        let dir = Alone::new();
        let server = McpServer::everything(dir.path(), "streamableHttp");
        runs_as_shown(dir.path(), "mcp.toml", ("http://127.0.0.1:3001", &server.url()), ["0.3", "0.2"]);
    });
}

#[test]
fn the_example_of_experts_prints_what_the_readme_shows() {
    let dir = Alone::new();
    let aimock = Aimock::with_fixtures(&root().join("examples/experts.fixtures.json"));
    std::fs::copy(root().join("examples/questions.csv"), dir.path().join("questions.csv")).unwrap();
    let url = format!("http://127.0.0.1:{}", aimock.port);
    runs_as_shown(dir.path(), "experts.toml", ("http://127.0.0.1:4010", &url), ["0.5", "0.5"]);
}
