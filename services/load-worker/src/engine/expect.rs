//! The cheap checks of `setup.expectations`, made as the answer is read.

use memchr::memmem::Finder;
use sandbox::abi;

/// One check of a step.
#[derive(Debug)]
struct Check {
    /// Index into `setup.checks`.
    check: u32,
    rule: Rule,
}

#[derive(Debug)]
enum Rule {
    Status(Vec<(u16, u16)>),
    Body(Finder<'static>),
    Header { name: Vec<u8>, part: Finder<'static> },
    ServiceBelow(u64),
}

/// The checks of a scenario, by step.
#[derive(Debug, Default)]
pub(crate) struct Expectations {
    steps: Vec<Vec<Check>>,
    /// Per step: the longest text looked for in bodies.
    longest: Vec<usize>,
}

/// What was found of one answer so far.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Per check of the step.
    found: Vec<bool>,
    /// The end of the body so far: a text may lie across two reads.
    tail: Vec<u8>,
}

impl Found {
    pub(crate) fn clear(&mut self) {
        self.found.clear();
        self.tail.clear();
    }
}

impl Expectations {
    pub(crate) fn new(setup: &abi::Setup) -> Self {
        let mut steps: Vec<Vec<Check>> = setup.steps.iter().map(|_| Vec::new()).collect();
        for expectation in &setup.expectations {
            let rule = match &expectation.rule {
                abi::Rule::Status(ranges) => Rule::Status(ranges.clone()),
                abi::Rule::BodyContains(text) => Rule::Body(Finder::new(text.as_bytes()).into_owned()),
                abi::Rule::HeaderContains((name, part)) => Rule::Header {
                    name: name.as_bytes().to_vec(),
                    part: Finder::new(part.as_bytes()).into_owned(),
                },
                abi::Rule::ServiceBelowUs(limit) => Rule::ServiceBelow(*limit),
            };
            if let Some(step) = steps.get_mut(expectation.step as usize) {
                step.push(Check { check: expectation.check, rule });
            }
        }
        let length = |check: &Check| if let Rule::Body(text) = &check.rule { text.needle().len() } else { 0 };
        let longest = steps.iter().map(|step| step.iter().map(length).max().unwrap_or(0)).collect();
        Self { steps, longest }
    }

    fn step(&self, step: u32) -> &[Check] {
        self.steps.get(step as usize).map_or(&[], Vec::as_slice)
    }

    /// Whether a step's checks look at header fields.
    pub(crate) fn reads_fields(&self, step: u32) -> bool {
        self.step(step).iter().any(|check| matches!(check.rule, Rule::Header { .. }))
    }

    /// The head of an answer has come.
    pub(crate) fn head(&self, step: u32, status: u16, fields: &[httparse::Header<'_>], found: &mut Found) {
        found.clear();
        for check in self.step(step) {
            found.found.push(match &check.rule {
                Rule::Status(ranges) => ranges.iter().any(|(low, high)| (*low..=*high).contains(&status)),
                Rule::Header { name, part } => fields.iter().any(|field| {
                    field.name.as_bytes().eq_ignore_ascii_case(name) && part.find(field.value).is_some()
                }),
                Rule::Body(text) => text.needle().is_empty(),
                Rule::ServiceBelow(_) => true,
            });
        }
    }

    /// Whether a check of the step looks into bodies.
    pub(crate) fn looks_into_body(&self, step: u32) -> bool {
        self.longest.get(step as usize).is_some_and(|longest| *longest > 0)
    }

    /// A stretch of the body has come.
    pub(crate) fn body(&self, step: u32, data: &[u8], found: &mut Found) {
        let longest = self.longest.get(step as usize).copied().unwrap_or(0);
        if longest == 0 {
            return;
        }
        let keep = longest - 1;
        let head = &data[..data.len().min(keep)];
        let across = !found.tail.is_empty();
        if across {
            found.tail.extend_from_slice(head);
        }
        for (check, found_it) in self.step(step).iter().zip(&mut found.found) {
            if let Rule::Body(text) = &check.rule
                && !*found_it
            {
                *found_it = across && text.find(&found.tail).is_some() || text.find(data).is_some();
            }
        }
        if data.len() >= keep {
            found.tail.clear();
            found.tail.extend_from_slice(&data[data.len() - keep..]);
        } else {
            if !across {
                found.tail.extend_from_slice(data);
            }
            let excess = found.tail.len().saturating_sub(keep);
            found.tail.drain(..excess);
        }
    }

    /// The answer is whole: tells the outcome of each check, and whether none was broken.
    pub(crate) fn judge(
        &self,
        step: u32,
        service_us: u64,
        found: &Found,
        mut tell: impl FnMut(u32, bool),
    ) -> bool {
        let mut good = true;
        for (check, found) in self.step(step).iter().zip(&found.found) {
            let pass = match check.rule {
                Rule::ServiceBelow(limit) => service_us < limit,
                _ => *found,
            };
            good &= pass;
            tell(check.check, pass);
        }
        good
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(rules: Vec<abi::Rule>) -> abi::Setup {
        let expectations = rules
            .into_iter()
            .zip(0..)
            .map(|(rule, check)| abi::Expectation { step: 0, check, rule })
            .collect::<Vec<_>>();
        abi::Setup {
            steps: vec!["a".into()],
            checks: expectations.iter().map(|e| format!("c{}", e.check)).collect(),
            metrics: vec![],
            methods: vec!["GET".into()],
            feeds: vec![],
            expectations,
            body_limit: 0,
            stateless: true,
        }
    }

    fn outcomes(rules: Vec<abi::Rule>, status: u16, parts: &[&[u8]], service_us: u64) -> (Vec<bool>, bool) {
        let expectations = Expectations::new(&setup(rules));
        let fields = [httparse::Header { name: "X-Cache", value: b"HIT from edge" }];
        let mut found = Found::default();
        expectations.head(0, status, &fields, &mut found);
        for part in parts {
            expectations.body(0, part, &mut found);
        }
        let mut told = Vec::new();
        let good = expectations.judge(0, service_us, &found, |_, pass| told.push(pass));
        (told, good)
    }

    #[test]
    fn each_rule_passes_and_fails() {
        let rules = || {
            vec![
                abi::Rule::Status(vec![(200, 299), (404, 404)]),
                abi::Rule::HeaderContains(("x-cache".into(), "HIT".into())),
                abi::Rule::HeaderContains(("x-cache".into(), String::new())),
                abi::Rule::ServiceBelowUs(100),
                abi::Rule::BodyContains("ok".into()),
            ]
        };
        assert_eq!(outcomes(rules(), 404, &[b"it is ok"], 99), (vec![true; 5], true));
        assert_eq!(
            outcomes(rules(), 300, &[b"o", b"h k"], 100),
            (vec![false, true, true, false, false], false)
        );
        let miss = vec![
            abi::Rule::HeaderContains(("x-cache".into(), "MISS".into())),
            abi::Rule::HeaderContains(("x-other".into(), String::new())),
        ];
        assert_eq!(outcomes(miss, 200, &[], 0).0, [false, false]);
    }

    #[test]
    fn a_text_is_found_across_reads_of_any_size() {
        let body = b"aab aabaab aabaaab needle-in-hay needl";
        for size in 1..body.len() {
            let parts: Vec<&[u8]> = body.chunks(size).collect();
            let rules =
                ["aabaaab", "needle-in-hay", "needle!", "a"].map(|text| abi::Rule::BodyContains(text.into()));
            assert_eq!(
                outcomes(rules.to_vec(), 200, &parts, 0).0,
                [true, true, false, true],
                "reads of {size}"
            );
        }
    }
}
