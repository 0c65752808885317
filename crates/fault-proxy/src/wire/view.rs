//! What the API shows of proxies and toxics.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::toxic::{Attributes, Lease, Stream, Toxic};

/// A proxy as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProxyView {
    /// Unique.
    pub name: String,
    /// Host and port; the real port, where any was asked for and the proxy has listened.
    pub listen: String,
    /// Where it leads: host and port.
    pub upstream: String,
    /// Whether it listens.
    pub enabled: bool,
    /// Milliseconds until it is enabled by itself; only there where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled_in: Option<u64>,
    /// Those that act upstream first, each stream's in their order.
    pub toxics: Vec<ToxicView>,
    /// Only there where the proxy ends by itself.
    #[serde(flatten)]
    pub lease: Option<LeaseView>,
}

/// A toxic as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Shown")]
pub struct ToxicView {
    /// What it does.
    pub attributes: Attributes,
    /// Unique within the proxy.
    pub name: String,
    #[serde(rename = "type", skip_deserializing)]
    type_name: &'static str,
    /// Where it acts.
    pub stream: Stream,
    /// Only there where it acts on connections that lead there, and on no others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Share of connections that it hits, 0 to 1.
    pub toxicity: f64,
    /// Only there where the toxic ends by itself.
    #[serde(flatten)]
    pub lease: Option<LeaseView>,
}

/// A lease as the API shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseView {
    /// Milliseconds from each renewal.
    pub ttl: u64,
    /// Milliseconds that are left.
    pub ends_in: u64,
}

/// A toxic before its attributes are read, which takes its type.
#[derive(Deserialize)]
struct Shown {
    attributes: Map<String, Value>,
    name: String,
    #[serde(rename = "type")]
    type_name: String,
    stream: Stream,
    upstream: Option<String>,
    toxicity: f64,
    #[serde(flatten)]
    lease: Option<LeaseView>,
}

impl TryFrom<Shown> for ToxicView {
    type Error = String;

    fn try_from(shown: Shown) -> Result<Self, String> {
        let Shown { attributes, name, type_name, stream, upstream, toxicity, lease } = shown;
        let defaults = Attributes::of_type(&type_name)
            .ok_or_else(|| format!("type: found {type_name:?}, expected a type of this version"))?;
        let attributes = defaults.with(&attributes)?;
        Ok(Self { type_name: attributes.type_name(), attributes, name, stream, upstream, toxicity, lease })
    }
}

impl From<Lease> for LeaseView {
    fn from(lease: Lease) -> Self {
        let left = lease.ends.saturating_duration_since(Instant::now());
        let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self { ttl: millis(lease.ttl), ends_in: millis(left) }
    }
}

impl From<&Toxic> for ToxicView {
    fn from(toxic: &Toxic) -> Self {
        Self {
            attributes: toxic.attributes.clone(),
            name: toxic.name.clone(),
            type_name: toxic.attributes.type_name(),
            stream: toxic.stream,
            upstream: toxic.upstream.clone(),
            toxicity: toxic.toxicity,
            lease: toxic.lease.map(Into::into),
        }
    }
}
