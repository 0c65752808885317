//! The recipe of a fault and its parameters.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::{Cores, Direction, DiskFill, Recipe};
use crate::reader::{Field, Section};
use crate::spec::{self, Parameters};
use crate::tree::Content;
use crate::units;

/// What a recipe may take of a fault's table.
struct Given<'r>(BTreeMap<&'static str, Field<'r>>);

/// The recipe and the share of connections that it hits; `None` when something of it is wrong or missing.
pub(super) fn read(section: &Section<'_>) -> Option<(Recipe, f64)> {
    let word = section.need("recipe").and_then(|field| field.word(spec::RECIPES));
    let mut given =
        Given(spec::PARAMETER_KEYS.iter().filter_map(|key| Some((*key, section.get(key)?))).collect());
    let parameters = spec::PARAMETERS.get(word?)?;
    let complete = given.only_of(parameters, section);
    let found = given.recipe(parameters.recipe);
    let http = parameters.recipe.starts_with("http-");
    let toxicity = if http { Some(1.0) } else { given.share() };
    found.zip(toxicity).filter(|_| complete)
}

impl<'r> Given<'r> {
    /// Notes what the recipe does not take and what it misses; whether that is nothing.
    fn only_of(&mut self, parameters: &Parameters, section: &Section<'r>) -> bool {
        let Parameters { recipe, needed, taken } = parameters;
        let known: Vec<&str> = needed.iter().chain(*taken).copied().collect();
        let foreign: Vec<&'static str> = self.0.keys().copied().filter(|key| !known.contains(key)).collect();
        for key in &foreign {
            let Some(field) = self.0.remove(key) else { continue };
            let mend = match known.as_slice() {
                [] => format!("leave it out: {recipe} has no parameters"),
                known => format!("leave it out; {recipe} has: {}", known.join(", ")),
            };
            field.misplaced(format!("the recipe {recipe} has no such parameter"), mend);
        }
        let missing = needed.iter().filter(|key| section.need(key).is_none()).count();
        foreign.is_empty() && missing == 0
    }

    fn recipe(&self, name: &str) -> Option<Recipe> {
        Some(match name {
            "kill" => Recipe::Kill,
            "pause" => Recipe::Pause,
            "restart" => Recipe::Restart,
            "clock-skew" => Recipe::ClockSkew { offset_ms: self.need("offset", offset)? },
            "cpu" => Recipe::Cpu { cores: self.need("cores", cores)? },
            "memory" => Recipe::Memory { bytes: self.need("size", Field::size)? },
            "connections" => Recipe::Connections {
                count: self.need("connections", |field| field.whole(1..=spec::MOST_HELD))?,
            },
            "disk-full" => return self.disk_full(),
            "refuse" => Recipe::Refuse,
            "reset" => Recipe::Reset { after: self.or("after", Field::duration, Duration::ZERO)? },
            "slow-close" => Recipe::SlowClose { delay: self.need("delay", Field::some_duration)? },
            _ => return self.on_data(name),
        })
    }

    /// The recipes of which most have a direction.
    fn on_data(&self, name: &str) -> Option<Recipe> {
        let by_default = if name == "partition" { Direction::Both } else { Direction::FromTarget };
        let direction = self.or("direction", direction, by_default);
        let share = || self.share();
        match name {
            "latency" => self.latency(direction),
            "slicer" => self.slicer(direction),
            "packet-loss" => {
                let (loss, correlation) =
                    (self.need("loss", some_share), self.or("correlation", Field::share, 0.0));
                Some(Recipe::PacketLoss { loss: loss?, correlation: correlation?, direction: direction? })
            }
            "bandwidth" => {
                let rate = self.need("rate", Field::size);
                Some(Recipe::Bandwidth { bytes_per_second: rate?, direction: direction? })
            }
            "limit-data" => {
                let bytes = self.need("bytes", Field::size);
                Some(Recipe::LimitData { bytes: bytes?, direction: direction? })
            }
            "partition" => Some(Recipe::Partition { direction: direction? }),
            "http-abort" => Some(Recipe::HttpAbort { share: share()? }),
            "http-delay" => {
                let (share, delay) = (share(), self.need("delay", Field::some_duration));
                Some(Recipe::HttpDelay { share: share?, delay: delay? })
            }
            "http-status" => {
                let status = self.or("status", |field| field.whole(100..=999), 503);
                Some(Recipe::HttpStatus { share: share()?, status: status? })
            }
            "http-header" => {
                let (share, header) = (share(), self.need("header", header_name));
                let value = self.or("value", header_value, String::new());
                Some(Recipe::HttpHeader {
                    share: share?,
                    header: header?,
                    value: value?,
                    direction: direction?,
                })
            }
            "http-body" => Some(Recipe::HttpBody { share: share()?, direction: direction? }),
            _ => None,
        }
    }

    fn latency(&self, direction: Option<Direction>) -> Option<Recipe> {
        let latency = self.need("latency", Field::some_duration);
        let jitter = self.or("jitter", Field::duration, Duration::ZERO);
        if latency.is_some_and(|latency| jitter.is_some_and(|jitter| jitter > latency)) {
            let message = "the jitter is more than the latency: data would come before it was sent";
            return self.0.get("jitter")?.problem(message, "lower it, or raise `latency`");
        }
        Some(Recipe::Latency { latency: latency?, jitter: jitter?, direction: direction? })
    }

    fn slicer(&self, direction: Option<Direction>) -> Option<Recipe> {
        let size = self.need("size", Field::size);
        let variation = self.or("variation", Field::size_or_none, 0);
        let delay = self.or("delay", Field::duration, Duration::ZERO);
        if size.is_some_and(|size| variation.is_some_and(|variation| variation >= size)) {
            let message = "the variation is not below `size`: a piece could be of no bytes";
            return self.0.get("variation")?.problem(message, "lower it, or raise `size`");
        }
        Some(Recipe::Slicer { size: size?, variation: variation?, delay: delay?, direction: direction? })
    }

    fn disk_full(&self) -> Option<Recipe> {
        let path = self.need("path", Field::text).map(PathBuf::from);
        let fill = match (self.0.get("leave"), self.0.get("size")) {
            (Some(leave), None) => leave.size_or_none().map(DiskFill::Leave),
            (None, Some(size)) => size.size().map(DiskFill::Take),
            (Some(leave), Some(_)) => leave.problem(
                "`leave` and `size` contradict each other",
                "keep `leave`, what stays free, or `size`, what is taken",
            ),
            (None, None) => self.0.get("path").and_then(|path| {
                path.problem(
                    "how far the disk is filled is missing",
                    "add `leave`, what stays free, or `size`, what is taken",
                )
            }),
        };
        Some(Recipe::DiskFull { path: path?, fill: fill? })
    }

    /// What is missing was noted before.
    fn need<T>(&self, key: &str, read: impl FnOnce(&Field<'r>) -> Option<T>) -> Option<T> {
        self.0.get(key).and_then(read)
    }

    fn or<T>(&self, key: &str, read: impl FnOnce(&Field<'r>) -> Option<T>, default: T) -> Option<T> {
        self.0.get(key).map_or(Some(default), read)
    }

    fn share(&self) -> Option<f64> {
        self.or("share", some_share, 1.0)
    }
}

fn direction(field: &Field<'_>) -> Option<Direction> {
    let word = field.word(spec::DIRECTIONS)?;
    [Direction::Both, Direction::ToTarget, Direction::FromTarget].get(word).copied()
}

fn some_share(field: &Field<'_>) -> Option<f64> {
    match field.share()? {
        0.0 => field.problem("a share of nothing is no fault", "name a share over 0, or leave the fault out"),
        share => Some(share),
    }
}

/// `+30s`, `-1m30s`, `30s`; not 0.
fn offset(field: &Field<'_>) -> Option<i64> {
    let expected = "an offset such as \"+30s\" or \"-5m\"";
    let Content::Text(text) = &field.node.content else { return field.wrong(expected, "put it in quotes") };
    let (sign, length) = match text.trim().strip_prefix('-') {
        Some(length) => (-1, length),
        None => (1, text.trim().strip_prefix('+').unwrap_or(text)),
    };
    let Some(length) = units::parse_duration(length) else {
        return field.wrong(expected, "units are ns, us, ms, s, m, h, d");
    };
    match i64::try_from(length.as_millis()) {
        Ok(0) => field.wrong("an offset of at least 1ms", "a clock that is right is no fault"),
        Ok(offset) => Some(sign * offset),
        Err(_) => field.wrong(expected, ""),
    }
}

/// `2`, `"50%"`, `0.5`.
fn cores(field: &Field<'_>) -> Option<Cores> {
    match field.node.content {
        Content::Integer(_) => field.whole(1..=1024).map(Cores::Count),
        _ => some_share(field).map(Cores::Share),
    }
}

fn header_name(field: &Field<'_>) -> Option<String> {
    let name = field.text()?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.bytes().all(is_token) {
        return Some(name);
    }
    field.wrong("the name of a header field such as \"retry-after\"", "")
}

fn header_value(field: &Field<'_>) -> Option<String> {
    let value = field.text_or_empty()?;
    if value.contains(['\r', '\n', '\0']) {
        return field.wrong("one line of text", "leave out line ends");
    }
    Some(value)
}
