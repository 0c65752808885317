//! What fuzz targets begin with: the committed odd answers, so that a fresh checkout does not have to find out first what an
//! answer looks like.

use std::path::Path;

use anyhow::Context as _;

use crate::paths::root;

/// Answers by name; its head says how it is written.
const TABLE: &str = "services/load-worker/src/io/http1/odd_answers.txt";

/// Where a chunked body begins in an answer that has one.
const CHUNKED: &[u8] = b"Transfer-Encoding: chunked\r\n\r\n";

/// An input of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seed {
    target: &'static str,
    bytes: Vec<u8>,
}

/// Writes those of at most so many bytes into the targets' directories below `corpus`; gives their number. What stands there
/// of an earlier run stays.
pub(super) fn write(corpus: &Path, max_len: usize) -> anyhow::Result<usize> {
    let table = std::fs::read_to_string(root().join(TABLE)).with_context(|| format!("read {TABLE}"))?;
    let seeds = seeds(&table)?;
    let mut written = 0;
    for (number, Seed { target, bytes }) in seeds.iter().enumerate() {
        // libFuzzer would cut them, and what is odd about them is that they are long.
        if bytes.len() > max_len {
            continue;
        }
        let dir = corpus.join(target);
        std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        let file = dir.join(format!("odd-answer-{number:03}"));
        std::fs::write(&file, bytes).with_context(|| format!("write {}", file.display()))?;
        written += 1;
    }
    Ok(written)
}

/// The table's answers as inputs of the target `answer` (a byte for the method and one for how it is cut stand before them), and
/// their chunked bodies as those of `chunked` (with the latter byte alone).
fn seeds(table: &str) -> anyhow::Result<Vec<Seed>> {
    let mut seeds = Vec::new();
    for (number, line) in table.lines().enumerate() {
        // `hyper:` is about the answer before it.
        if line.is_empty() || line.starts_with('#') || line.starts_with("  hyper: ") {
            continue;
        }
        let place = || format!("{TABLE}:{}", number + 1);
        let [_name, method, _outcome, wire] = line.splitn(4, " | ").collect::<Vec<_>>()[..] else {
            anyhow::bail!("{}: expected name | method | outcome | bytes, found {line:?}", place());
        };
        let head = match method {
            "HEAD" => 1,
            "GET" => 0,
            _ => anyhow::bail!("{}: expected GET or HEAD, found {method:?}", place()),
        };
        let wire = bytes(wire).with_context(place)?;
        // Any byte will do; this way neighbours are cut in different ways.
        let [cut, ..] = seeds.len().to_le_bytes();
        if let Some(at) = wire.windows(CHUNKED.len()).position(|window| window == CHUNKED) {
            let body = wire.get(at + CHUNKED.len()..).unwrap_or_default();
            seeds.push(Seed { target: "chunked", bytes: [&[cut], body].concat() });
        }
        seeds.push(Seed { target: "answer", bytes: [&[head, cut], wire.as_slice()].concat() });
    }
    Ok(seeds)
}

/// Bytes as the table writes them: `\r`, `\n`, `\t`, `\0`, `\\`, `\x7f`, and `\{20:text}` for a text twenty times.
fn bytes(text: &str) -> anyhow::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.extend_from_slice(plain.as_bytes());
        let mut after = escape.chars();
        let kind = after.next().context("a backslash at the end")?;
        rest = after.as_str();
        match kind {
            'r' => out.push(b'\r'),
            'n' => out.push(b'\n'),
            't' => out.push(b'\t'),
            '0' => out.push(0),
            '\\' => out.push(b'\\'),
            'x' => {
                let (digits, after) = rest.split_at_checked(2).context("\\x wants two digits")?;
                out.push(u8::from_str_radix(digits, 16).with_context(|| format!("\\x{digits}"))?);
                rest = after;
            }
            '{' => {
                let (repeat, after) = rest.split_once('}').context("\\{ without }")?;
                let (times, text) = repeat.split_once(':').context("\\{ wants times:text")?;
                let times = times.parse().with_context(|| format!("\\{{{times}"))?;
                out.extend(bytes(text)?.repeat(times));
                rest = after;
            }
            _ => anyhow::bail!("unknown escape \\{kind}"),
        }
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_their_chunked_bodies_are_seeds() {
        let table = "# A comment.\n\n\
                     plain | GET | 200 0 keeps \"\" | HTTP/1.1 200 OK\\r\\n\\r\\n\\x7f\\{2:ab}\\\\\n  hyper: malformed | why\n\
                     chunks | HEAD | cut-off | HTTP/1.1 200\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n1\\r\\nx\n";
        let seed = |target, bytes: &[u8]| Seed { target, bytes: bytes.to_vec() };
        let expected = [
            seed("answer", b"\0\0HTTP/1.1 200 OK\r\n\r\n\x7fabab\\"),
            seed("chunked", b"\x011\r\nx"),
            seed("answer", b"\x01\x01HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx"),
        ];
        assert_eq!(seeds(table).expect("seeds"), expected);
    }

    #[test]
    fn the_committed_table_is_read_whole() {
        let table = std::fs::read_to_string(root().join(TABLE)).expect("the table");
        let rows = table.lines().filter(|line| line.contains(" | ") && !line.starts_with([' ', '#']));
        let seeds = seeds(&table).expect("seeds");
        let of = |target| seeds.iter().filter(|seed| seed.target == target).count();
        assert_eq!(of("answer"), rows.count());
        assert!(of("answer") >= 200 && of("chunked") >= 20, "{} and {}", of("answer"), of("chunked"));
    }

    #[test]
    fn mistakes_in_the_table_name_their_line() {
        for wrong in ["plain | GET | x", "plain | PUT | x | y", "plain | GET | x | \\q", "a | GET | b | \\x4"]
        {
            let error = format!("{:#}", seeds(&format!("\n{wrong}\n")).expect_err("a mistake"));
            assert!(error.contains("odd_answers.txt:2: "), "{error}");
        }
    }
}
