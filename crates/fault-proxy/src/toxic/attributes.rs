//! The attributes of each type of toxic: units, defaults, what is allowed.

use serde::Serialize;
use serde_json::{Map, Value};

use super::behaviour::Behaviour;
use super::fields::Fields;
use super::http::{Http, Messages};
use super::{Stream, cut, delay, loss, rate};

/// Milliseconds at most: seven weeks, which no clock overflows.
const LONGEST: u64 = u32::MAX as u64;
/// Bytes, or thousands of bytes a second, at most.
const MOST: u64 = 1 << 50;

/// Delays every chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// Milliseconds. Default 0.
    pub latency: u64,
    /// Milliseconds: the delay is drawn evenly from `latency - jitter` up to `latency + jitter`. Default 0.
    pub jitter: u64,
}

/// Limits the rate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bandwidth {
    /// Thousands of bytes a second; 0 lets nothing pass. Default 0.
    pub rate: u64,
}

/// Delays the end of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SlowClose {
    /// Milliseconds. Default 0.
    pub delay: u64,
}

/// Lets nothing pass and closes the connection when nothing came for a while, or when the toxic is removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Timeout {
    /// Milliseconds since the last chunk; 0 = never. Default 0.
    pub timeout: u64,
}

/// Resets the connection after its first data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ResetPeer {
    /// Milliseconds from the first data to the reset. Default 0.
    pub timeout: u64,
    /// Whether connections that were open before the toxic are reset too; else they are closed, as Toxiproxy does it.
    /// Default false.
    pub established: bool,
}

/// Cuts chunks into small ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Slicer {
    /// Bytes. Default 0, which is refused: it must be given.
    pub average_size: u64,
    /// Bytes that a slice may be larger or smaller; less than `average_size`. Default 0.
    pub size_variation: u64,
    /// Microseconds after each slice. Default 0.
    pub delay: u64,
}

/// Closes the connection when so much has passed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LimitData {
    /// Bytes. Default 0.
    pub bytes: u64,
}

/// Drops chunks out of the stream.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PacketLoss {
    /// Share of chunks that are lost, 0 to 1. Default 0.1.
    pub loss_rate: f64,
    /// Added to the share where the chunk before was lost, 0 to 1. Default 0.
    pub correlation: f64,
}

/// What a toxic does, by its type.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Attributes {
    /// `latency`
    Latency(Latency),
    /// `bandwidth`
    Bandwidth(Bandwidth),
    /// `slow_close`
    SlowClose(SlowClose),
    /// `timeout`
    Timeout(Timeout),
    /// `reset_peer`
    ResetPeer(ResetPeer),
    /// `slicer`
    Slicer(Slicer),
    /// `limit_data`
    LimitData(LimitData),
    /// `packet_loss`
    PacketLoss(PacketLoss),
    /// `http_abort`, `http_delay`, `http_status`, `http_header`, `http_body`. Not in Toxiproxy.
    Http(Http),
}

impl Attributes {
    /// The defaults of a type; `None` = there is no such type.
    #[must_use]
    pub fn of_type(name: &str) -> Option<Self> {
        Some(match name {
            "latency" => Self::Latency(Latency::default()),
            "bandwidth" => Self::Bandwidth(Bandwidth::default()),
            "slow_close" => Self::SlowClose(SlowClose::default()),
            "timeout" => Self::Timeout(Timeout::default()),
            "reset_peer" => Self::ResetPeer(ResetPeer::default()),
            "slicer" => Self::Slicer(Slicer { average_size: 0, size_variation: 0, delay: 0 }),
            "limit_data" => Self::LimitData(LimitData::default()),
            "packet_loss" => Self::PacketLoss(PacketLoss { loss_rate: 0.1, correlation: 0.0 }),
            name => Self::Http(Http::of_type(name)?),
        })
    }

    /// The type's name.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Latency(_) => "latency",
            Self::Bandwidth(_) => "bandwidth",
            Self::SlowClose(_) => "slow_close",
            Self::Timeout(_) => "timeout",
            Self::ResetPeer(_) => "reset_peer",
            Self::Slicer(_) => "slicer",
            Self::LimitData(_) => "limit_data",
            Self::PacketLoss(_) => "packet_loss",
            Self::Http(http) => http.type_name(),
        }
    }

    /// Whether it can do anything in this stream.
    #[must_use]
    pub fn fits(&self, stream: Stream) -> bool {
        match self {
            Self::Http(http) => http.fits(stream),
            _ => true,
        }
    }

    /// These attributes with those that are given in place of their own.
    ///
    /// # Errors
    /// All that is wrong with what is given.
    pub fn with(&self, given: &Map<String, Value>) -> Result<Self, String> {
        let mut fields = Fields::new(given);
        let all = match self {
            Self::Latency(now) => Self::Latency(Latency {
                latency: fields.whole("latency", now.latency, 0..=LONGEST),
                jitter: fields.whole("jitter", now.jitter, 0..=LONGEST),
            }),
            Self::Bandwidth(now) => {
                Self::Bandwidth(Bandwidth { rate: fields.whole("rate", now.rate, 0..=MOST) })
            }
            Self::SlowClose(now) => {
                Self::SlowClose(SlowClose { delay: fields.whole("delay", now.delay, 0..=LONGEST) })
            }
            Self::Timeout(now) => {
                Self::Timeout(Timeout { timeout: fields.whole("timeout", now.timeout, 0..=LONGEST) })
            }
            Self::ResetPeer(now) => Self::ResetPeer(ResetPeer {
                timeout: fields.whole("timeout", now.timeout, 0..=LONGEST),
                established: fields.flag("established", now.established),
            }),
            Self::Slicer(now) => Self::Slicer(slicer(now, &mut fields)),
            Self::LimitData(now) => {
                Self::LimitData(LimitData { bytes: fields.whole("bytes", now.bytes, 0..=MOST) })
            }
            Self::PacketLoss(now) => Self::PacketLoss(PacketLoss {
                loss_rate: fields.share("loss_rate", now.loss_rate),
                correlation: fields.share("correlation", now.correlation),
            }),
            Self::Http(now) => Self::Http(now.with(&mut fields)),
        };
        fields.finish().map(|()| all)
    }

    /// What it does to one direction of one connection. `at_open` = the toxic was there when the connection was opened.
    pub(crate) fn behaviour(&self, at_open: bool, now: tokio::time::Instant) -> Box<dyn Behaviour> {
        match self {
            Self::Latency(latency) => Box::new(delay::Delays::new(latency.clone())),
            Self::SlowClose(slow) => Box::new(delay::SlowEnd::new(slow.clone())),
            Self::Bandwidth(bandwidth) => Box::new(rate::Pace::new(bandwidth.clone())),
            Self::Slicer(slicer) => Box::new(rate::Slices::new(slicer.clone())),
            Self::Timeout(timeout) => Box::new(cut::Silence::new(timeout.clone(), now)),
            Self::ResetPeer(reset) => Box::new(cut::Reset::new(reset.clone(), at_open)),
            Self::LimitData(limit) => Box::new(cut::Limit::new(limit.clone())),
            Self::PacketLoss(loss) => Box::new(loss::Losses::new(loss.clone())),
            Self::Http(http) => Box::new(Messages::new(http.clone())),
        }
    }
}

fn slicer(now: &Slicer, fields: &mut Fields<'_>) -> Slicer {
    let all = Slicer {
        average_size: fields.whole("average_size", now.average_size, 1..=MOST),
        size_variation: fields.whole("size_variation", now.size_variation, 0..=MOST),
        delay: fields.whole("delay", now.delay, 0..=LONGEST * 1_000),
    };
    fields.require(all.average_size > 0, || {
        "attributes.average_size: found nothing, expected the bytes of an average slice, 1 or more".to_owned()
    });
    fields.require(all.size_variation < all.average_size, || {
        format!(
            "attributes.size_variation: found {}, expected less than average_size, which is {}",
            all.size_variation, all.average_size
        )
    });
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TYPES: [&str; 13] = [
        "latency",
        "bandwidth",
        "slow_close",
        "timeout",
        "reset_peer",
        "slicer",
        "limit_data",
        "packet_loss",
        "http_abort",
        "http_delay",
        "http_status",
        "http_header",
        "http_body",
    ];

    fn given(of_type: &str, attributes: &Value) -> Result<Attributes, String> {
        Attributes::of_type(of_type).unwrap().with(attributes.as_object().unwrap())
    }

    #[test]
    fn defaults() {
        let defaults: Vec<Value> = TYPES
            .iter()
            .map(|name| serde_json::to_value(Attributes::of_type(name).unwrap()).unwrap())
            .collect();
        assert_eq!(
            defaults,
            [
                json!({"latency": 0, "jitter": 0}),
                json!({"rate": 0}),
                json!({"delay": 0}),
                json!({"timeout": 0}),
                json!({"timeout": 0, "established": false}),
                json!({"average_size": 0, "size_variation": 0, "delay": 0}),
                json!({"bytes": 0}),
                json!({"loss_rate": 0.1, "correlation": 0.0}),
                json!({"share": 1.0}),
                json!({"share": 1.0, "delay": 0}),
                json!({"share": 1.0, "status": 503}),
                json!({"share": 1.0, "name": "", "value": ""}),
                json!({"share": 1.0}),
            ]
        );
        assert!(TYPES.iter().all(|name| Attributes::of_type(name).unwrap().type_name() == *name));
        assert_eq!(Attributes::of_type("noop"), None);
    }

    #[test]
    fn what_is_not_given_stays() {
        let slow = given("latency", &json!({"latency": 100, "jitter": 5})).unwrap();
        let slower = slow.with(json!({"latency": 200, "jitter": null}).as_object().unwrap()).unwrap();
        assert_eq!(slower, Attributes::Latency(Latency { latency: 200, jitter: 5 }));
    }

    #[test]
    fn all_mistakes_are_named_at_once() {
        let wrong = given("latency", &json!({"latency": -1, "jitter": "5", "latencey": 3})).unwrap_err();
        assert_eq!(
            wrong,
            "attributes.latency: found -1, expected a whole number from 0 to 4294967295; \
             attributes.jitter: found \"5\", expected a whole number from 0 to 4294967295; \
             attributes: there is no \"latencey\"; there are: latency, jitter"
        );
        let wrong = given("packet_loss", &json!({"loss_rate": 1.5})).unwrap_err();
        assert_eq!(wrong, "attributes.loss_rate: found 1.5, expected a number from 0 to 1");
    }

    #[test]
    fn slices_that_could_not_be_cut_are_refused() {
        assert!(given("slicer", &json!({})).unwrap_err().contains("average_size"));
        assert!(given("slicer", &json!({"average_size": 0})).unwrap_err().contains("from 1"));
        let wrong = given("slicer", &json!({"average_size": 10, "size_variation": 10})).unwrap_err();
        assert!(wrong.contains("less than average_size, which is 10"), "{wrong}");
        assert!(given("slicer", &json!({"average_size": 10, "size_variation": 9})).is_ok());
    }
}
