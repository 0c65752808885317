//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use otlp::{CollectorUrl, Ratio};
use plan::model::PhaseName;

const EXIT_CODES: &str = "\
Exit codes:
  0    passed
  1    a defect of Gauntlet
  2    bad input: plan, flag, guest
  3    environment: target, store, port, disk
  96   aborted by a person, the API or a lost service
  97   a fault could not be undone
  98   invalid: the load generator was the bottleneck
  99   a threshold failed
  130  ended by SIGINT (Ctrl-C)
  143  ended by SIGTERM";

const KNEE_HELP: &str = "\
Each stage is a run of its own with constant load, beside the others in the result's directory. It is kept when every
threshold holds, at least 99 % of the wanted rate was sent, and the generator was not the limit. The rate doubles until a
stage fails; then the gap is halved until it is small enough; then a longer stage confirms the knee, or a lower one. Faults
and recovery of the plan are left out; processes of the plan are started anew for each stage.

Exit codes:
  0    the knee was found, or --max was kept
  1    a defect of Gauntlet
  2    bad input: plan, flag, guest
  3    environment: target, store, port, disk; also a target that did not get well after a stage
  96   aborted by a person, the API or a lost service
  98   the load generator was the limit, not the target
  99   the start rate failed already, or no rate could be confirmed
  130  ended by SIGINT (Ctrl-C)
  143  ended by SIGTERM";

const CONFORMANCE_HELP: &str = "\
The client under test for the protocol's own conformance suite, which sets the variables:
  npx @modelcontextprotocol/conformance client --command 'gauntlet mcp-conformance' --requirements 2026-07-28
Without them the session is opened, the tools are listed, and the session is ended.

Exit codes:
  0    every exchange was right
  1    a defect of Gauntlet
  2    bad input: URL, scenario, revision
  3    environment: guest, disk
  99   an exchange was wrong";

/// Walks a system through seven phases of rising stress and says whether it held.
#[derive(Debug, Parser)]
#[command(name = "gauntlet", version, after_help = EXIT_CODES, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a plan, and end with its verdict
    #[command(after_help = EXIT_CODES)]
    Run(Box<RunArgs>),
    /// Find the highest rate at which a plan's thresholds hold, by stages of constant load
    #[command(after_help = KNEE_HELP)]
    Knee(Box<KneeArgs>),
    /// Have one session with a server of the Model Context Protocol, and say what was wrong with it
    #[command(after_help = CONFORMANCE_HELP)]
    McpConformance(McpConformanceArgs),
    /// Write, check and show plans
    #[command(subcommand)]
    Plan(PlanCommand),
    /// Look at past runs
    #[command(subcommand)]
    Runs(RunsCommand),
    /// Write summary.json, junit.xml and report.html of a run directory anew
    Report {
        /// The run directory
        run_dir: PathBuf,
    },
    /// Steer a run that is under way
    Control(ControlArgs),
    /// See, inject and end faults of a run that is under way
    Chaos(ChaosArgs),
    /// See what recovery knows of a run that is under way
    Recovery(RecoveryArgs),
    /// Make what a deployed suite needs before its services start
    #[command(subcommand)]
    Deploy(DeployCommand),
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Compile a guest: what `run` starts as a child with limits of its own
    #[command(hide = true)]
    GuestCompile {
        /// The component
        input: PathBuf,
        /// Where the compiled guest goes
        output: PathBuf,
    },
}

/// What can be said instead of the plan.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct OverrideArgs {
    /// Seed of all draws
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Factor on phase lengths and ramps
    #[arg(long, value_name = "FACTOR")]
    pub(crate) time_scale: Option<f64>,
    /// Factor on rates, connections and users
    #[arg(long, value_name = "FACTOR")]
    pub(crate) load_scale: Option<f64>,
    /// Stress this target alone: only the scenarios that address it and no other
    #[arg(long, value_name = "TARGET")]
    pub(crate) only: Option<String>,
    /// Run these phases only, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "PHASE")]
    pub(crate) phases: Option<Vec<Phase>>,
}

impl OverrideArgs {
    pub(crate) fn to_overrides(&self) -> plan::Overrides {
        plan::Overrides {
            seed: self.seed,
            time_scale: self.time_scale,
            load_scale: self.load_scale,
            only: self.only.clone(),
            phases: self.phases.as_ref().map(|phases| phases.iter().map(|phase| phase.name()).collect()),
        }
    }
}

/// A phase on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Phase {
    Idle,
    Baseline,
    Light,
    Medium,
    Heavy,
    Extreme,
    Chaos,
}

impl Phase {
    pub(crate) const fn name(self) -> PhaseName {
        match self {
            Self::Idle => PhaseName::Idle,
            Self::Baseline => PhaseName::Baseline,
            Self::Light => PhaseName::Light,
            Self::Medium => PhaseName::Medium,
            Self::Heavy => PhaseName::Heavy,
            Self::Extreme => PhaseName::Extreme,
            Self::Chaos => PhaseName::Chaos,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The plan, TOML
    pub(crate) plan: PathBuf,
    #[command(flatten)]
    pub(crate) overrides: OverrideArgs,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    /// No progress, only the verdict
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Print the summary as JSON in place of the table
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where runs are done and kept.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct PlaceArgs {
    /// Where run directories are made [default: the plan's `report.dir`, else ./runs]
    #[arg(long, value_name = "DIR")]
    pub(crate) report_dir: Option<PathBuf>,
    /// Loopback address of the HTTP API [default: the plan's `control.api`, else a free port]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) api: Option<String>,
    /// Offer our own metrics to a Prometheus at this loopback address [default: not at all]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) prometheus: Option<String>,
    #[command(flatten)]
    pub(crate) guests: GuestArgs,
    #[command(flatten)]
    pub(crate) nats: NatsArgs,
    #[command(flatten)]
    pub(crate) traces: TraceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct KneeArgs {
    /// The plan, TOML: its targets, scenarios and thresholds
    pub(crate) plan: PathBuf,
    /// Phase whose thresholds, connections and scenario settings hold, beside the thresholds of the run
    /// [default: heavy, else the last of the plan with load]
    #[arg(long, value_name = "PHASE")]
    pub(crate) phase: Option<Phase>,
    /// Rate of the first stage, requests per second
    #[arg(long, value_name = "RATE", default_value = "10")]
    pub(crate) start: String,
    /// Highest rate that is tried
    #[arg(long, value_name = "RATE", default_value = "100000")]
    pub(crate) max: String,
    /// Length of a stage
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub(crate) stage: String,
    /// Length of the stage that confirms what was found
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    pub(crate) confirm: String,
    /// Gap between the knee and the lowest rate that failed, as a share of the knee, from 1% to 50%
    #[arg(long, value_name = "SHARE", default_value = "5%")]
    pub(crate) precision: String,
    /// How long the target may take after a failed stage until it keeps the lowest rate again
    #[arg(long, value_name = "DURATION", default_value = "1m")]
    pub(crate) cool_down: String,
    /// Connections, and users, in every stage [default: as the phase has them]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections: Option<u32>,
    /// Seed of all draws
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Stress this target alone: only the scenarios that address it and no other
    #[arg(long, value_name = "TARGET")]
    pub(crate) only: Option<String>,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    /// No progress, only the result
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Print the result as JSON in place of the table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct McpConformanceArgs {
    /// The server's address
    pub(crate) url: String,
    /// What the user does: a client scenario of the suite
    #[arg(long, env = "MCP_CONFORMANCE_SCENARIO", value_name = "NAME")]
    pub(crate) scenario: Option<String>,
    /// Revision of the protocol [default: the newest that the server speaks]
    #[arg(long, env = "MCP_CONFORMANCE_PROTOCOL_VERSION", value_name = "REVISION")]
    pub(crate) revision: Option<String>,
    /// What the scenario gives the client, JSON
    #[arg(long, env = "MCP_CONFORMANCE_CONTEXT", value_name = "JSON")]
    pub(crate) context: Option<String>,
    /// Keep the report of the session in a directory in here [default: it is not kept]
    #[arg(long, value_name = "DIR")]
    pub(crate) report_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) guests: GuestArgs,
}

/// Where a deployed suite is.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct NatsArgs {
    /// Have the run done by the suite on this NATS, in place of this process
    #[arg(long, env = "GAUNTLET_NATS_URL", value_name = "URL", conflicts_with_all = ["api", "prometheus"])]
    pub(crate) nats: Option<String>,
    /// User there [default: cli, where there is a password]
    #[arg(long, env = "GAUNTLET_NATS_USER", value_name = "USER", requires = "nats")]
    pub(crate) nats_user: Option<String>,
    /// File with the password there
    #[arg(long, env = "GAUNTLET_NATS_PASSWORD_FILE", value_name = "FILE", requires = "nats")]
    pub(crate) nats_password_file: Option<PathBuf>,
    /// Certificates that the server's is checked against, PEM
    #[arg(long, env = "GAUNTLET_NATS_CA", value_name = "FILE", requires = "nats")]
    pub(crate) nats_ca: Option<PathBuf>,
}

/// Where traces go: settings as those of the services.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct TraceArgs {
    /// Collector that the run's trace is sent to, OTLP over HTTP: http://host:4318 [default: none is made]
    #[arg(long, env = "GAUNTLET_OTLP_URL", value_name = "URL")]
    pub(crate) otlp_url: Option<CollectorUrl>,
    /// Share of runs whose trace is kept, 0 to 1
    #[arg(long, env = "GAUNTLET_TRACE_RATIO", value_name = "SHARE", default_value_t = Ratio::default())]
    pub(crate) trace_ratio: Ratio,
}

/// Where guests are.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct GuestArgs {
    /// Directory with guests, looked at before `guests` beside the program
    #[arg(long, env = "GAUNTLET_GUESTS", value_name = "DIR")]
    pub(crate) guests_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PlanCommand {
    /// Write a first plan
    Init {
        /// The file
        #[arg(default_value = "plan.toml")]
        file: PathBuf,
    },
    /// Say all that is wrong with a plan
    Check {
        /// The plan
        plan: PathBuf,
        #[command(flatten)]
        overrides: OverrideArgs,
        #[command(flatten)]
        guests: GuestArgs,
    },
    /// Print a plan with every default spelled out
    Show {
        /// The plan
        plan: PathBuf,
        #[command(flatten)]
        overrides: OverrideArgs,
    },
    /// Print the JSON Schema of plans
    Schema,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// List the runs, newest first
    List(ReportDir),
    /// Show the verdict and the table of a run
    Show {
        /// Run directory, its name, or its beginning; the newest by default
        run: Option<String>,
        #[command(flatten)]
        dir: ReportDir,
    },
    /// Set two runs side by side, phase by phase
    Compare {
        /// The run to compare with
        before: String,
        /// The run that is compared
        after: String,
        #[command(flatten)]
        dir: ReportDir,
    },
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ReportDir {
    /// Where run directories are
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub(crate) report_dir: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeployCommand {
    /// Make the passwords, the API's token and the configuration of NATS that are not there yet
    Secrets(SecretsArgs),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct SecretsArgs {
    /// Where they are to be: a directory for each part of the suite
    pub(crate) dir: PathBuf,
    /// Where NATS listens
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:4222")]
    pub(crate) nats_listen: SocketAddr,
    /// Port on loopback for the health and the figures of NATS itself [default: none]
    #[arg(long, value_name = "PORT")]
    pub(crate) nats_monitor_port: Option<u16>,
    /// Where NATS keeps records and objects, as it sees it
    #[arg(long, value_name = "DIR", default_value = "/var/lib/nats")]
    pub(crate) nats_store_dir: PathBuf,
    /// Bear plain text on an address other than loopback: nobody but the suite is on that network
    #[arg(long)]
    pub(crate) private_network: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ControlArgs {
    #[command(subcommand)]
    pub(crate) action: Action,
    #[command(flatten)]
    pub(crate) run: LiveRunArgs,
}

/// Which run under way is meant, and how its HTTP API is reached.
#[derive(Clone, Debug, Args)]
pub(crate) struct LiveRunArgs {
    /// Base URL of the run's HTTP API [default: that of the newest live run in the report directory]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) api: Option<String>,
    /// File with the API's token, where it wants one
    #[arg(long, global = true, env = "GAUNTLET_API_TOKEN_FILE", value_name = "FILE")]
    pub(crate) api_token_file: Option<PathBuf>,
    #[arg(long, global = true, value_name = "DIR", default_value = "runs")]
    /// Where run directories are
    pub(crate) report_dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ChaosArgs {
    #[command(subcommand)]
    pub(crate) action: ChaosCommand,
    #[command(flatten)]
    pub(crate) run: LiveRunArgs,
    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ChaosCommand {
    /// Faults that are planned, there, over or skipped, and what cannot be done
    List,
    /// Inject a fault now; it ends at its duration, by its stop condition, or with its phase
    Run {
        /// The fault as `[[chaos]]` has it, without `phase` and `at`: recipe=kill target=shop duration=5s stop=none
        #[arg(value_name = "KEY=VALUE", required_unless_present = "file", conflicts_with = "file")]
        fault: Vec<String>,
        /// File with the same as TOML; - is standard input
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// End a fault and undo it, or all that are there
    Stop {
        /// Its name in the list; all without one
        fault: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RecoveryArgs {
    #[command(subcommand)]
    pub(crate) action: RecoveryCommand,
    #[command(flatten)]
    pub(crate) run: LiveRunArgs,
    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum RecoveryCommand {
    /// Health of the targets, incidents, what was done about them, and the budgets
    Status,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Action {
    /// Send nothing until resumed
    Pause,
    /// Go on after a pause
    Resume,
    /// Ramp down, collect and judge: the run ends as aborted
    Stop,
    /// End this phase and go on with the next
    Skip,
    /// Change the rate for the rest of the phase
    Rate {
        /// Requests per second, all workers together
        rate: f64,
    },
}
