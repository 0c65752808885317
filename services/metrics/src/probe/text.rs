//! The Prometheus text format, as far as a reader of single values needs it.

/// One sample line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample<'a> {
    pub(crate) name: &'a str,
    /// Value of the label `instance`; empty without one.
    pub(crate) instance: String,
    pub(crate) value: f64,
}

/// Reads all samples. Comments, timestamps and exemplars are skipped; NaN is a value like any other.
///
/// # Errors
/// The first line that is none of the format, with its number.
pub(crate) fn parse(text: &str) -> Result<Vec<Sample<'_>>, String> {
    let lines = text.lines().map(str::trim).zip(1..);
    lines
        .filter(|(line, _)| !line.is_empty() && !line.starts_with('#'))
        .map(|(line, number)| sample(line).map_err(|what| format!("line {number}: {what}")))
        .collect()
}

fn sample(line: &str) -> Result<Sample<'_>, String> {
    let end = line.find(|c: char| c == '{' || c.is_ascii_whitespace()).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    if name.is_empty() {
        return Err("expected a metric name".into());
    }
    let (instance, rest) = match rest.trim_start().strip_prefix('{') {
        Some(labels) => instance_of(labels)?,
        None => (String::new(), rest),
    };
    let value = rest.split_ascii_whitespace().next().ok_or_else(|| format!("{name} has no value"))?;
    let parsed = match value {
        "+Inf" => Ok(f64::INFINITY),
        "-Inf" => Ok(f64::NEG_INFINITY),
        "NaN" => Ok(f64::NAN),
        number => number.parse(),
    };
    match parsed {
        Ok(value) => Ok(Sample { name, instance, value }),
        Err(_) => Err(format!("{name} has the value {value:?}, expected a number")),
    }
}

/// The value of the label `instance`, and what follows the labels.
fn instance_of(mut rest: &str) -> Result<(String, &str), String> {
    let mut instance = String::new();
    loop {
        rest = rest.trim_start_matches(|c: char| c == ',' || c.is_ascii_whitespace());
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((instance, after));
        }
        let (label, after) = rest.split_once('=').ok_or("labels without an end")?;
        let quoted = after.trim_start().strip_prefix('"').ok_or("a label value without quotes")?;
        let (value, after) = unquote(quoted).ok_or("a label value without an end")?;
        if label.trim() == "instance" {
            instance = value;
        }
        rest = after;
    }
}

fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, quoted.get(at + 1..)?)),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

/// Sums of a metric by instance; a counter may be asked for without its `_total`. Empty = it is not there.
pub(crate) fn sums(samples: &[Sample<'_>], name: &str) -> Vec<(String, f64)> {
    let exact = sums_of(samples, |found| found == name);
    if exact.is_empty() {
        sums_of(samples, |found| found.strip_suffix("_total") == Some(name))
    } else {
        exact
    }
}

fn sums_of(samples: &[Sample<'_>], takes: impl Fn(&str) -> bool) -> Vec<(String, f64)> {
    let mut sums = std::collections::BTreeMap::new();
    for sample in samples.iter().filter(|sample| takes(sample.name) && sample.value.is_finite()) {
        *sums.entry(sample.instance.clone()).or_insert(0.0) += sample.value;
    }
    sums.into_iter().collect()
}
