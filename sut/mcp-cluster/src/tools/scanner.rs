//! Source text with planted findings, and a scanner that has to find them by reading.

use rmcp::model::Tool;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Failure, Progress, plain, tool, within};
use crate::app::App;

/// Bytes of a repository's name at most.
const MAX_NAME: usize = 64;
/// Files of one scan at most.
pub(crate) const MAX_FILES: u32 = 500;
/// Bytes of a text at most.
const MAX_TEXT: usize = 64 << 10;
/// Lines of each planted file.
const LINES: u64 = 120;
/// Findings planted in one file at most.
const PLANTED: u64 = 3;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scan {
    /// Any name: each has its own files.
    #[schemars(length(min = 1, max = MAX_NAME))]
    repository: String,
    /// How many of its files, from the first.
    #[serde(default = "some_files")]
    #[schemars(range(min = 1, max = MAX_FILES))]
    files: u32,
}

fn some_files() -> u32 {
    10
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScanText {
    #[schemars(length(max = MAX_TEXT))]
    text: String,
}

/// What should not be in source text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Rule {
    /// `AKIA` and 16 capital letters and digits, by themselves.
    AccessKey,
    /// The first line of a private key.
    PrivateKey,
    /// A password that is written out.
    Password,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Finding {
    /// 0 for the first file.
    file: u32,
    /// 1 for the first line.
    line: u64,
    rule: Rule,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Findings {
    /// Lines that were read.
    lines: u64,
    /// In the order of files and lines.
    findings: Vec<Finding>,
}

pub(crate) fn tools() -> Vec<Tool> {
    vec![
        tool::<Scan, Findings>("scan", "Scans the files of a repository and tells the progress of each."),
        tool::<ScanText, Findings>("scan_text", "Scans a text."),
    ]
}

pub(crate) async fn scan(
    app: &App,
    Scan { repository, files }: Scan,
    progress: &Progress,
) -> Result<Findings, Failure> {
    plain("repository", &repository, MAX_NAME)?;
    within("files", u64::from(files), 1, u64::from(MAX_FILES))?;
    let (mut lines, mut findings) = (0, Vec::new());
    for file in 0..files {
        let text = source(app.seed, &repository, file);
        lines += text.lines().count() as u64;
        findings.extend(found(&text, file));
        progress.done(file + 1, files).await?;
        // A scan computes: others have their turn between files.
        tokio::task::yield_now().await;
    }
    Ok(Findings { lines, findings })
}

pub(crate) fn scan_text(ScanText { text }: &ScanText) -> Result<Findings, Failure> {
    within("text", text.len() as u64, 0, MAX_TEXT as u64)?;
    Ok(Findings { lines: text.lines().count() as u64, findings: found(text, 0) })
}

/// What a reader finds in a text, line by line.
fn found(text: &str, file: u32) -> Vec<Finding> {
    let lines = (1..).zip(text.lines());
    lines.filter_map(|(line, text)| rule(text).map(|rule| Finding { file, line, rule })).collect()
}

fn rule(line: &str) -> Option<Rule> {
    if line.contains("-----BEGIN ") && line.contains(" PRIVATE KEY-----") {
        return Some(Rule::PrivateKey);
    }
    let words = line.split(|c: char| !c.is_ascii_alphanumeric());
    let is_key = |word: &str| {
        let rest = word.strip_prefix("AKIA").unwrap_or_default();
        rest.len() == 16 && rest.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    };
    if words.into_iter().any(is_key) {
        return Some(Rule::AccessKey);
    }
    let (name, value) = line.split_once('=')?;
    let value = value.trim().trim_end_matches(';');
    let written_out = value.len() > 2 && value.starts_with('"') && value.ends_with('"');
    (name.trim_end().to_ascii_lowercase().ends_with("password") && written_out).then_some(Rule::Password)
}

/// What is planted in a file of a repository, without reading it: the truth that a scan is held to.
pub(crate) fn planted(seed: u64, repository: &str, file: u32) -> Vec<Finding> {
    let key = file_key(seed, repository, file);
    let mut lines: Vec<u64> = (0..draws::up_to(PLANTED, draws::at(key, 0)))
        .map(|n| 1 + draws::up_to(LINES - 1, draws::at(key, 1 + n)))
        .collect();
    lines.sort_unstable();
    lines.dedup();
    let rule = |line: u64| match draws::up_to(2, draws::at(key, 100 + line)) {
        0 => Rule::AccessKey,
        1 => Rule::PrivateKey,
        _ => Rule::Password,
    };
    lines.into_iter().map(|line| Finding { file, line, rule: rule(line) }).collect()
}

/// A file of a repository: lines of source, some that look like findings and are none, and those that are planted.
pub(crate) fn source(seed: u64, repository: &str, file: u32) -> String {
    let key = file_key(seed, repository, file);
    let planted = planted(seed, repository, file);
    let mut text = String::new();
    for line in 1..=LINES {
        let draw = draws::at(key, 1_000 + line);
        let here = planted.iter().find(|finding| finding.line == line).map(|finding| finding.rule);
        text.push_str(&match here {
            Some(Rule::AccessKey) => format!("let id = \"AKIA{}\";", letters(draw)),
            Some(Rule::PrivateKey) => "const PEM: &str = \"-----BEGIN RSA PRIVATE KEY-----\\n".to_owned(),
            Some(Rule::Password) => format!("    let db_password = \"{draw:x}\";"),
            None => match draws::up_to(19, draw) {
                0 => "let password = std::env::var(\"PASSWORD\")?;".to_owned(),
                1 => "const PEM: &str = \"-----BEGIN PUBLIC KEY-----\\n".to_owned(),
                2 => format!("let id = \"XAKIA{}\";", letters(draw)),
                3 => format!("// AKIA{}", &letters(draw)[..15]),
                _ => format!("total += weight_{} * {};", draw % 97, draw % 1_000),
            },
        });
        text.push('\n');
    }
    text
}

fn file_key(seed: u64, repository: &str, file: u32) -> u64 {
    draws::at(draws::at(seed, 2) ^ draws::text(repository), u64::from(file))
}

/// 16 capital letters and digits.
fn letters(draw: u64) -> String {
    const SIGNS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let sign = |n: u64| char::from(SIGNS[(draws::at(draw, n) % SIGNS.len() as u64) as usize]);
    (0..16).map(sign).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scanner_finds_what_is_planted_and_nothing_else() {
        let mut rules = Vec::new();
        for repository in ["shop", "billing"] {
            for file in 0..200 {
                let planted = planted(7, repository, file);
                assert_eq!(found(&source(7, repository, file), file), planted, "{repository}/{file}");
                rules.extend(planted.into_iter().map(|finding| finding.rule));
            }
        }
        // Each rule and each look-alike stands there often.
        for rule in [Rule::AccessKey, Rule::PrivateKey, Rule::Password] {
            assert!(rules.iter().filter(|found| **found == rule).count() > 100, "{rule:?}");
        }
        let all: String = (0..20).map(|file| source(7, "shop", file)).collect();
        assert!(all.contains("XAKIA") && all.contains("BEGIN PUBLIC KEY") && all.contains("env::var"));
        assert_ne!(source(7, "shop", 0), source(8, "shop", 0));
    }
}
