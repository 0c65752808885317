//! What a program is told of its collector.

use std::fmt::{self, Display};
use std::str::FromStr;

/// Where a collector is: `http://host:port`, to which `/v1/traces` is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorUrl(String);

impl FromStr for CollectorUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = |found: &str| {
            Err(format!(
                "{found}: expected a collector's OTLP address over HTTP, such as http://127.0.0.1:4318"
            ))
        };
        let url = match reqwest::Url::parse(text) {
            Ok(url) => url,
            Err(error) => return refused(&error.to_string()),
        };
        if url.scheme() == "https" {
            return refused("TLS is not spoken here, send spans to a collector on this host that does");
        }
        if url.scheme() != "http" || !url.has_host() {
            return refused("it is no http:// address");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return refused("it has more than a host, a port and a path");
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }
}

impl Display for CollectorUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The share of traces that are kept, of those that begin in this process: 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio(f64);

impl Ratio {
    pub(crate) const fn share(self) -> f64 {
        self.0
    }
}

impl Default for Ratio {
    fn default() -> Self {
        Self(1.0)
    }
}

impl FromStr for Ratio {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(Self(ratio)),
            _ => Err("expected a share from 0 to 1, such as 0.1".to_owned()),
        }
    }
}

impl Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whose spans go where.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The collector.
    pub collector: CollectorUrl,
    /// The share of traces that are kept.
    pub ratio: Ratio,
    /// `service.name`: `gauntlet-scheduler`. Others of these, such as the namespace, come from `OTEL_RESOURCE_ATTRIBUTES`.
    pub service: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        url.parse::<CollectorUrl>().unwrap_err()
    }

    #[test]
    fn wrong_settings_say_what_is_expected() {
        let url: CollectorUrl = "http://collector:4318/".parse().unwrap();
        assert_eq!(url.to_string(), "http://collector:4318");
        assert!(refused("https://collector:4318").contains("TLS"));
        for wrong in ["collector:4318", "", "ftp://x", "http://x/?a=b"] {
            assert!(refused(wrong).contains("http://127.0.0.1:4318"), "{}", refused(wrong));
        }
        assert_eq!("0.25".parse::<Ratio>().unwrap().to_string(), "0.25");
        for wrong in ["1.1", "-1", "NaN", "all", ""] {
            assert!(wrong.parse::<Ratio>().unwrap_err().contains("from 0 to 1"));
        }
    }
}
