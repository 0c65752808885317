//! Where instances are: how each is asked, and what it is called.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use plan::model::{Recovery, Target};
use platform::InstanceId;
use prober::{Check, Connector, Expects};

/// A target as it is watched.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    pub(crate) target: Target,
    pub(crate) recovery: Recovery,
    pub(crate) places: Vec<Place>,
    /// The backup's health, where the plan names one.
    pub(crate) backup: Option<Check>,
}

/// One instance.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// What it is called first, as incidents have it.
    pub(crate) name: String,
    /// All that it may be called by.
    pub(crate) names: Vec<String>,
    /// `host:port` of its URL.
    pub(crate) authority: String,
    /// Its process, where it is ours.
    pub(crate) process: Option<InstanceId>,
    /// Directly.
    pub(crate) direct: Check,
    /// As load reaches it, once an address is put in.
    pub(crate) way: Check,
}

impl Watched {
    /// How a target of the plan is watched.
    ///
    /// # Errors
    /// When one of its processes has a name that no platform takes.
    pub(crate) fn new(
        target: &Target,
        recovery: Option<&Recovery>,
        connector: &Connector,
        health: Option<&str>,
    ) -> Result<Self, platform::PlatformError> {
        // A target that is not to be brought back is watched all the same.
        let recovery = recovery.cloned().unwrap_or_else(|| Recovery {
            strategy: Vec::new(),
            ..Recovery::of_target(target.platform.is_some())
        });
        let checks = Checks { health, target, connector, timeout: recovery.timeout };
        let mut places = Vec::new();
        for (index, url) in target.urls.iter().enumerate() {
            let process = target.instances().get(index).map(InstanceId::new).transpose()?;
            let authority = authority(url);
            let name = process.as_ref().map_or_else(|| url.clone(), ToString::to_string);
            let mut names = vec![name.clone(), url.clone(), authority.clone()];
            names.push(format!("{}-{index}", target.name));
            let (direct, way) = (checks.direct(url), checks.way(url));
            places.push(Place { name, names, authority, process, direct, way });
        }
        let backup = recovery.backup.as_ref().map(|backup| checks.way(&backup.url));
        Ok(Self { target: target.clone(), recovery, places, backup })
    }

    /// Between two probes while something is wrong.
    pub(crate) fn alert_interval(&self) -> Duration {
        const SHORTEST: Duration = Duration::from_millis(100);
        (self.recovery.interval / 10).max(SHORTEST)
    }
}

struct Checks<'a> {
    health: Option<&'a str>,
    target: &'a Target,
    connector: &'a Connector,
    timeout: Duration,
}

impl Checks<'_> {
    /// The health URL tells of the one instance that the target has, or of the one on whose host it is.
    fn direct(&self, url: &str) -> Check {
        match self.health {
            Some(health) if self.target.urls.len() == 1 => self.check(health.to_owned(), Expects::Success),
            _ => self.way(url),
        }
    }

    /// An instance's own URL with the health URL's path, where that is a path of the target's endpoints.
    fn way(&self, url: &str) -> Check {
        let path = self.health.filter(|health| {
            self.target.urls.iter().any(|url| base(url) == base(health))
                && !self.target.urls.iter().any(|url| url == health)
        });
        match path {
            Some(health) => {
                let path = health.get(base(health).len()..).unwrap_or("");
                self.check(format!("{}{path}", base(url)), Expects::Success)
            }
            None => self.check(url.to_owned(), Expects::Alive),
        }
    }

    fn check(&self, url: String, expects: Expects) -> Check {
        let by = self.target.way_to(&url);
        Check { url, expects, connector: self.connector.clone(), by, timeout: self.timeout }
    }
}

/// Scheme and authority of a URL: all before its path.
fn base(url: &str) -> &str {
    let after = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(after..).and_then(|rest| rest.find(['/', '?', '#'])).map_or(url.len(), |at| after + at);
    url.get(..end).unwrap_or(url)
}

/// `host:port` of a URL.
pub(crate) fn authority(url: &str) -> String {
    let base = base(url);
    let (scheme, authority) = base.split_once("://").unwrap_or(("http", base));
    let authority = authority.rsplit('@').next().unwrap_or(authority);
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    let port = if scheme == "https" { 443 } else { 80 };
    if has_port { authority.to_owned() } else { format!("{authority}:{port}") }
}

/// Where the files are that a target's TLS needs, by name in the run's bundle.
pub(crate) type Files = BTreeMap<String, PathBuf>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (url, expected_base, expected_authority) in [
            ("http://a:1/x", "http://a:1", "a:1"),
            ("https://a.b", "https://a.b", "a.b:443"),
            ("http://[::1]/?q", "http://[::1]", "[::1]:80"),
            ("http://[::1]:8080", "http://[::1]:8080", "[::1]:8080"),
        ] {
            assert_eq!((base(url), authority(url).as_str()), (expected_base, expected_authority));
        }
    }

    #[test]
    fn each_instance_is_asked_for_its_health_where_that_can_be() {
        let mut target = Target {
            name: "shop".to_owned(),
            urls: Vec::new(),
            socket: None,
            proxy: None,
            platform: None,
            chaos: None,
            resources: plan::model::Resources::Absent,
            metrics_url: None,
            metrics: BTreeMap::new(),
            health: None,
            tls: plan::model::Tls::default(),
            http: plan::model::Http::One,
            balancing: plan::model::Balancing::default(),
            keep_alive: true,
        };
        target.urls = vec!["http://a:1".to_owned(), "http://b:2".to_owned()];
        let connector = Connector::Broken(String::new());
        let asked = |target: &Target, health: Option<&str>| -> Vec<(String, Expects, String)> {
            let watched = Watched::new(target, None, &connector, health).unwrap();
            watched
                .places
                .into_iter()
                .map(|place| (place.way.url, place.way.expects, place.direct.url))
                .collect()
        };
        let of = |way: &str, expects, direct: &str| (way.to_owned(), expects, direct.to_owned());
        assert_eq!(
            asked(&target, Some("http://a:1/health?deep")),
            [
                of("http://a:1/health?deep", Expects::Success, "http://a:1/health?deep"),
                of("http://b:2/health?deep", Expects::Success, "http://b:2/health?deep")
            ]
        );
        for nothing in [None, Some("http://a:1"), Some("http://admin:9/health")] {
            assert_eq!(
                asked(&target, nothing),
                [
                    of("http://a:1", Expects::Alive, "http://a:1"),
                    of("http://b:2", Expects::Alive, "http://b:2")
                ]
            );
        }
        target.urls.truncate(1);
        assert_eq!(
            asked(&target, Some("http://admin:9/health")),
            [of("http://a:1", Expects::Alive, "http://admin:9/health")]
        );
    }
}
