//! Settings in layers: defaults, then a file, then the environment, then flags; the later one wins. A setting has one name in
//! all of them: `nats-url = "…"` in the file, `GAUNTLET_NATS_URL`, `--nats-url`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, Command, Parser, ValueEnum};
use config::{Config, File, FileFormat, Value, ValueKind};
use otlp::{CollectorUrl, Options, Ratio};

/// A program's settings: [`Common`] and its own.
pub trait Settings: Parser {
    /// What all programs have.
    fn common(&self) -> &Common;
}

/// Settings of every service.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// File with settings, TOML: names and values as of the flags
    #[arg(long, env = "GAUNTLET_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where NATS is; several servers of one cluster are separated by commas
    #[arg(
        long,
        env = "GAUNTLET_NATS_URL",
        value_name = "URL",
        value_delimiter = ',',
        default_value = "nats://127.0.0.1:4222"
    )]
    pub nats_url: Vec<String>,
    /// User on NATS [default: the service's name, where there is a password]
    #[arg(long, env = "GAUNTLET_NATS_USER", value_name = "USER")]
    pub nats_user: Option<String>,
    /// File with the password on NATS
    #[arg(long, env = "GAUNTLET_NATS_PASSWORD_FILE", value_name = "FILE")]
    pub nats_password_file: Option<PathBuf>,
    /// Certificates that the server's is checked against, PEM
    #[arg(long, env = "GAUNTLET_NATS_CA", value_name = "FILE")]
    pub nats_ca: Option<PathBuf>,
    /// Certificate shown to NATS, PEM; needs nats-key
    #[arg(long, env = "GAUNTLET_NATS_CERTIFICATE", value_name = "FILE", requires = "nats_key")]
    pub nats_certificate: Option<PathBuf>,
    /// Key of that certificate, PEM
    #[arg(long, env = "GAUNTLET_NATS_KEY", value_name = "FILE", requires = "nats_certificate")]
    pub nats_key: Option<PathBuf>,
    /// Bytes that each log on NATS may take on its disk before it refuses; said by whichever service comes first, it stays
    #[arg(long, env = "GAUNTLET_NATS_LOG_BYTES", value_name = "BYTES", default_value_t = 1 << 30, value_parser = clap::value_parser!(u64).range(4_096..=1 << 50))]
    pub nats_log_bytes: u64,
    /// Directory for what must survive a restart of this process
    #[arg(long, env = "GAUNTLET_STATE_DIR", value_name = "DIR", default_value = "state")]
    pub state_dir: PathBuf,
    /// Loopback address of /healthz, /readyz and /metrics; port 0 = any free one
    #[arg(long, env = "GAUNTLET_HEALTH", value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    pub health: String,
    /// Shape of log lines
    #[arg(long, env = "GAUNTLET_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// What is logged: `info`, `warn,scheduler=debug` [default: our own at info, libraries at warn]
    #[arg(long, env = "GAUNTLET_LOG", value_name = "DIRECTIVES")]
    pub log: Option<String>,
    /// Collector that traces are sent to, OTLP over HTTP: http://host:4318 [default: none are made]
    #[arg(long, env = "GAUNTLET_OTLP_URL", value_name = "URL")]
    pub otlp_url: Option<CollectorUrl>,
    /// Share of the traces that begin here which are kept, 0 to 1; the others' are kept or not as they say
    #[arg(long, env = "GAUNTLET_TRACE_RATIO", value_name = "SHARE", default_value_t = Ratio::default())]
    pub trace_ratio: Ratio,
}

impl Common {
    /// Where the spans of a program of this name go, as telemetry takes it.
    #[must_use]
    pub fn traces(&self, program: &str) -> Option<Options> {
        let collector = self.otlp_url.clone()?;
        Some(Options { collector, ratio: self.trace_ratio, service: program.to_owned() })
    }
}

/// Settings of services that keep something in PostgreSQL.
#[derive(Clone, Debug, Args)]
pub struct PostgresSettings {
    /// Where PostgreSQL is: postgres://user@host:port/database
    #[arg(long, env = "GAUNTLET_POSTGRES_URL", value_name = "URL")]
    pub postgres_url: String,
    /// File with its password, where the URL has none
    #[arg(long, env = "GAUNTLET_POSTGRES_PASSWORD_FILE", value_name = "FILE")]
    pub postgres_password_file: Option<PathBuf>,
    /// Certificates that the server's is checked against, PEM
    #[arg(long, env = "GAUNTLET_POSTGRES_CA", value_name = "FILE")]
    pub postgres_ca: Option<PathBuf>,
    /// Connections at most
    #[arg(long, env = "GAUNTLET_POSTGRES_POOL", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub postgres_pool: u16,
}

/// The shape of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why there are no settings.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Help or version was asked for: what to print.
    Asked(String),
    /// Something is wrong: what, and what was expected.
    Wrong(String),
}

/// Reads settings from arguments (the first is the program's name), environment and file.
///
/// # Errors
/// What is wrong with them, each with its place.
pub fn read<S: Settings>(
    arguments: Vec<OsString>,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<S, Refusal> {
    let command = S::command().args_override_self(true).after_help(format!(
        "With {} as the first argument the program asks the service that runs with the same settings whether it is ready, and \
         ends with 0 or 3.",
        crate::check::WORD
    ));
    let file = named(&arguments).or_else(|| environment("GAUNTLET_CONFIG").map(PathBuf::from));
    let mut layered: Vec<OsString> = arguments.iter().take(1).cloned().collect();
    if let Some(file) = file {
        layered.extend(from_file(&file, &command, &environment).map_err(Refusal::Wrong)?);
    }
    layered.extend(arguments.into_iter().skip(1));
    let matches = command.try_get_matches_from(layered).map_err(|error| {
        let text = error.render().to_string();
        if error.use_stderr() {
            Refusal::Wrong(text.trim_start_matches("error: ").to_owned())
        } else {
            Refusal::Asked(text)
        }
    })?;
    S::from_arg_matches(&matches).map_err(|error| Refusal::Wrong(error.render().to_string()))
}

/// The file that `--config` names.
fn named(arguments: &[OsString]) -> Option<PathBuf> {
    let mut found = None;
    let mut rest = arguments.iter().skip(1);
    while let Some(argument) = rest.next() {
        let text = argument.to_string_lossy();
        if text == "--config" {
            found = rest.next().map(PathBuf::from);
        } else if let Some(path) = text.strip_prefix("--config=") {
            found = Some(PathBuf::from(path));
        }
    }
    found
}

/// The file's settings as flags, save those that the environment has: it wins over the file, and flags over both.
fn from_file(
    file: &Path,
    command: &Command,
    environment: &impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<OsString>, String> {
    let shown = file.display();
    let settings = Config::builder()
        .add_source(File::from(file).format(FileFormat::Toml))
        .build()
        .and_then(Config::try_deserialize::<BTreeMap<String, Value>>)
        .map_err(|error| format!("settings file {shown}: {error}"))?;
    let mut flags = Vec::new();
    for (name, value) in settings {
        let known = || command.get_arguments().filter(|argument| argument.get_id() != "config");
        let Some(argument) = known().find(|argument| argument.get_long() == Some(name.as_str())) else {
            let names: Vec<_> = known().filter_map(clap::Arg::get_long).collect();
            return Err(format!(
                "settings file {shown}: there is no setting {name:?}; there are: {}",
                names.join(", ")
            ));
        };
        let text = match &value.kind {
            ValueKind::Array(values) => {
                let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
                texts.join(",")
            }
            ValueKind::Table(_) => {
                return Err(format!("settings file {shown}: {name}: found a table, expected a value"));
            }
            _ => value.to_string(),
        };
        let in_environment = argument.get_env().and_then(|name| environment(&name.to_string_lossy()));
        if in_environment.is_none() {
            flags.push(format!("--{name}={text}").into());
        }
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[derive(Debug, Parser)]
    #[command(name = "test", version)]
    struct Test {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        postgres: PostgresSettings,
        /// Threads
        #[arg(long, default_value_t = 1)]
        threads: u32,
    }

    impl Settings for Test {
        fn common(&self) -> &Common {
            &self.common
        }
    }

    fn read_with(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Test, Refusal> {
        let arguments = ["test"].iter().chain(arguments).map(OsString::from).collect();
        let environment: BTreeMap<String, OsString> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect();
        read(arguments, |name| environment.get(name).cloned())
    }

    fn file(text: &str) -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings.toml");
        std::fs::write(&path, text).unwrap();
        (dir, format!("--config={}", path.display()))
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let (_dir, config) = file(
            "nats-url = [\"nats://a:1\", \"nats://b:2\"]\nthreads = 3\npostgres-url = \"postgres://x@h/d\"\nlog-format = \"text\"",
        );
        let settings = read_with(&[&config, "--threads", "5"], &[]).unwrap();
        assert_eq!(settings.common.nats_url, ["nats://a:1", "nats://b:2"]);
        assert_eq!((settings.threads, settings.common.log_format), (5, LogFormat::Text));
        assert_eq!((settings.common.health.as_str(), settings.postgres.postgres_pool), ("127.0.0.1:0", 10));
    }

    #[test]
    fn traces_are_off_until_a_collector_is_named() {
        let needed = "--postgres-url=postgres://x@h/d";
        let settings = read_with(&[needed], &[]).unwrap();
        assert_eq!(settings.common.traces("test"), None);
        assert_eq!(settings.common.trace_ratio.to_string(), "1");
        let (_dir, config) = file("otlp-url = \"http://collector:4318\"\ntrace-ratio = 0.25");
        let traces =
            read_with(&[&config, needed], &[]).unwrap().common.traces("gauntlet-load-worker").unwrap();
        assert_eq!(traces.service, "gauntlet-load-worker");
        assert_eq!(
            (traces.collector.to_string(), traces.ratio.to_string()),
            ("http://collector:4318".into(), "0.25".into())
        );
        let wrong = |flag: &str| match read_with(&[needed, flag], &[]) {
            Err(Refusal::Wrong(text)) => text,
            other => panic!("{other:?}"),
        };
        let text = wrong("--otlp-url=https://collector:4317");
        assert!(text.contains("--otlp-url") && text.contains("http://127.0.0.1:4318"), "{text}");
        let text = wrong("--trace-ratio=2");
        assert!(text.contains("--trace-ratio") && text.contains("from 0 to 1"), "{text}");
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let (_dir, config) = file("log = \"debug\"\npostgres-url = \"postgres://x@h/d\"");
        let flags = {
            let command = Test::command();
            let path = PathBuf::from(config.trim_start_matches("--config="));
            from_file(&path, &command, &|name| (name == "GAUNTLET_LOG").then(|| "trace".into())).unwrap()
        };
        assert_eq!(flags, [OsString::from("--postgres-url=postgres://x@h/d")]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let wrong = |text: &str| {
            let (_dir, config) = file(text);
            match read_with(&[&config], &[]) {
                Err(Refusal::Wrong(text)) => text,
                other => panic!("{other:?}"),
            }
        };
        let text = wrong("nats-uri = \"x\"");
        assert!(
            text.contains("settings.toml") && text.contains("\"nats-uri\"") && text.contains("nats-url"),
            "{text}"
        );
        assert!(wrong("threads = ").contains("settings.toml"));
        let text = wrong("threads = \"many\"\npostgres-url = \"x\"");
        assert!(text.contains("many") && text.contains("--threads"), "{text}");
        assert!(wrong("postgres-url = \"x\"\npostgres-pool = 200").contains("200 is not in 1..=100"));
        assert!(wrong("").contains("--postgres-url"), "what is needed and not there is asked for");
    }
}
