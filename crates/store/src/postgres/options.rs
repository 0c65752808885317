//! How to reach the server, checked before anything is tried.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::{MAX_LOG_BYTES, Place, StoreError};

/// The longest patience: longer ones are cut to it.
pub(super) const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// What can be chosen about a store in a PostgreSQL database (version 14 or newer).
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database`. Its `sslmode=require` asks for TLS, verified by the system's
    /// authorities unless [`ca`](Self::ca) names others.
    pub url: String,
    /// A file with the password, in place of one in the URL; a line end at its end does not count.
    pub password_file: Option<PathBuf>,
    /// A file with the certificates (PEM) of the authorities that may vouch for the server. With it the connection is TLS
    /// or none.
    pub ca: Option<PathBuf>,
    /// Connections at most, at least 1. Default 10; R8.7 asks for 10 to 100.
    pub pool: usize,
    /// How long to wait for a connection. Default 5 s.
    pub connect_timeout: Duration,
    /// How long a connection that nobody uses is kept. Default 300 s.
    pub idle_timeout: Duration,
    /// How long an operation may take, with all its repetitions while the server is away or others are in its way, until
    /// it fails as [`StoreError::Unreachable`] or [`StoreError::Locked`]. Default 30 s, at most a day.
    pub patience: Duration,
    /// As [`Options::max_log_bytes`](crate::Options::max_log_bytes).
    pub max_log_bytes: u64,
}

impl PostgresOptions {
    /// Options with a URL and defaults.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            password_file: None,
            ca: None,
            pool: 10,
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(300),
            patience: Duration::from_secs(30),
            max_log_bytes: MAX_LOG_BYTES,
        }
    }

    /// The client's configuration, and how to call the place in errors.
    pub(super) fn configuration(&self) -> Result<(Config, Place), StoreError> {
        let (mut config, place) = self.parse()?;
        if let Some(file) = &self.password_file {
            let unreadable = |error: std::io::Error| StoreError::Options {
                option: "the PostgreSQL password file",
                detail: format!("{}: {error}", file.display()),
            };
            let password = std::fs::read_to_string(file).map_err(unreadable)?;
            config.password(password.trim_end_matches(['\r', '\n']));
        }
        // Without an authority and without being asked for, TLS would verify nothing.
        let mode = match (&self.ca, config.get_ssl_mode()) {
            (Some(_), _) => SslMode::Require,
            (None, SslMode::Prefer) => SslMode::Disable,
            (None, asked) => asked,
        };
        config.ssl_mode(mode);
        let patience = milliseconds(self.patience);
        // Before the statement's time is over, so that one can tell a lock from a server that hangs.
        let lock = milliseconds(self.patience.min(LONGEST) * 3 / 4);
        let mut settings = config.get_options().map(|own| format!("{own} ")).unwrap_or_default();
        // What we no longer wait for must not hold locks on the server, whatever became of us and of the network.
        settings.push_str(&format!(
            "-c idle_session_timeout={} -c lock_timeout={lock} -c statement_timeout={patience} \
             -c idle_in_transaction_session_timeout={patience}",
            milliseconds(self.idle_timeout),
        ));
        config.options(settings);
        if config.get_application_name().is_none() {
            config.application_name("gauntlet");
        }
        config.connect_timeout(self.connect_timeout).tcp_user_timeout(self.patience);
        Ok((config, place))
    }

    fn parse(&self) -> Result<(Config, Place), StoreError> {
        let invalid = |detail: String| StoreError::Options { option: "the PostgreSQL URL", detail };
        // Its parser would read anything else as `key=value` words, and quote them, password and all, in its error.
        if !["postgres://", "postgresql://"].iter().any(|scheme| self.url.starts_with(scheme)) {
            let detail = "expected postgres://user:password@host:port/database";
            return Err(invalid(detail.to_owned()));
        }
        let config: Config = self.url.parse().map_err(|error| invalid(super::describe(&error)))?;
        let place = place(&config).map_err(invalid)?;
        Ok((config, Place::Server(place)))
    }
}

/// Never shows the password.
impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.parse().map(|(_, place)| place.to_string());
        f.debug_struct("PostgresOptions")
            .field("place", &place.unwrap_or_default())
            .field("password_file", &self.password_file)
            .field("ca", &self.ca)
            .field("pool", &self.pool)
            .field("connect_timeout", &self.connect_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("patience", &self.patience)
            .field("max_log_bytes", &self.max_log_bytes)
            .finish()
    }
}

fn place(config: &Config) -> Result<String, String> {
    let Some(host) = config.get_hosts().first() else { return Err("it names no host".to_owned()) };
    let host = match host {
        Host::Tcp(name) if name.contains(':') => format!("[{name}]"),
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let database = config.get_dbname().or_else(|| config.get_user()).unwrap_or_default();
    Ok(format!("postgres://{host}:{port}/{database}"))
}

/// As the server's settings have it, where 0 would mean no limit.
fn milliseconds(duration: Duration) -> u128 {
    duration.as_millis().clamp(1, i32::MAX.unsigned_abs().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_requirements() {
        let options = PostgresOptions::new("postgres://me@db/x");
        assert_eq!(options.pool, 10);
        assert_eq!(options.connect_timeout, Duration::from_secs(5));
        assert_eq!(options.idle_timeout, Duration::from_secs(300));
        assert_eq!(options.patience, Duration::from_secs(30));
        assert_eq!(options.max_log_bytes, 256 << 20);
    }

    #[test]
    fn the_place_is_the_url_without_its_secrets() {
        for (url, expected) in [
            ("postgres://me:secret@db.example:5433/runs", "postgres://db.example:5433/runs"),
            ("postgresql://me:secret@[::1]/runs?sslmode=require", "postgres://[::1]:5432/runs"),
            ("postgres://me:secret@db", "postgres://db:5432/me"),
        ] {
            let options = PostgresOptions::new(url);
            let (_, place) = options.configuration().unwrap();
            assert_eq!(place.to_string(), expected);
            assert!(!format!("{options:?}").contains("secret"), "{options:?}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_said_without_the_password() {
        for url in [
            "",
            "mysql://me:secret@db/x",
            "host=db password=secret",
            "postgres:///x",
            "postgres://me:secret@db:port/x",
        ] {
            let error = PostgresOptions::new(url).configuration().unwrap_err();
            assert!(matches!(error, StoreError::Options { .. }) && error.is_environment());
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        let mut options = PostgresOptions::new("postgres://me@db/x");
        options.password_file = Some("/absent/password".into());
        let error = options.configuration().unwrap_err().to_string();
        assert!(error.contains("password file") && error.contains("/absent/password"), "{error}");
    }

    #[test]
    fn tls_is_used_where_somebody_vouches_for_the_server() {
        let mode = |url: &str, ca: Option<&str>| {
            let options = PostgresOptions { ca: ca.map(PathBuf::from), ..PostgresOptions::new(url) };
            options.configuration().unwrap().0.get_ssl_mode()
        };
        assert_eq!(mode("postgres://me@db/x", None), SslMode::Disable);
        assert_eq!(mode("postgres://me@db/x?sslmode=require", None), SslMode::Require);
        assert_eq!(mode("postgres://me@db/x?sslmode=disable", Some("ca.pem")), SslMode::Require);
    }
}
