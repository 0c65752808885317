//! What `cargo xtask bench load` is asked for.

use super::cases::Case;
use super::clients::Client;

/// The command line's part after `bench load`.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(super) case: Case,
    pub(super) connections: u32,
    pub(super) seconds: u32,
    pub(super) rounds: u32,
    /// Requests a second, where a case has a schedule and it is not the case's own.
    pub(super) rate: Option<u32>,
    /// Threads of a client.
    pub(super) threads: u32,
    pub(super) clients: Vec<Client>,
    /// nginx instead of the bare server, where a case leaves the choice.
    pub(super) nginx: bool,
}

impl Options {
    /// Reads them; what is not said is as the case has it.
    pub(crate) fn read(arguments: &[&str]) -> anyhow::Result<Self> {
        let (mut case, mut connections, mut seconds, mut rounds, mut only) =
            (Case::Closed, None, None, 5, None);
        let (mut rate, mut threads, mut nginx) = (None, 1, false);
        let mut rest = arguments.iter();
        while let Some(&flag) = rest.next() {
            let value = rest.next().copied();
            let value = value.ok_or_else(|| anyhow::anyhow!("{flag} wants a value"))?;
            match flag {
                "--case" => case = Case::named(value)?,
                "--connections" => connections = Some(number(flag, value, 1..=18_000)?),
                "--seconds" => seconds = Some(number(flag, value, 1..=3_600)?),
                "--rounds" => rounds = number(flag, value, 1..=100)?,
                "--rate" => rate = Some(number(flag, value, 1..=1_000_000)?),
                "--threads" => threads = number(flag, value, 1..=64)?,
                "--only" => only = Some(value),
                "--target" => {
                    nginx = match value {
                        "bare" => false,
                        "nginx" => true,
                        _ => anyhow::bail!("--target {value}: `bare` or `nginx`"),
                    }
                }
                _ => anyhow::bail!(
                    "{flag} is no flag of bench load; there are --case, --connections, --seconds, --rounds, --rate, --threads, \
                     --only and --target"
                ),
            }
        }
        anyhow::ensure!(
            rate.is_none() || case.is_paced(),
            "--rate: case {} has no schedule; paced and paced-hard have one",
            case.name()
        );
        let all = case.clients(nginx);
        let clients = match only {
            None => all,
            Some(names) => {
                names.split(',').map(|name| Client::named(name, case)).collect::<anyhow::Result<_>>()?
            }
        };
        Ok(Self {
            case,
            connections: connections.unwrap_or_else(|| case.connections()),
            seconds: seconds.unwrap_or_else(|| case.seconds()),
            rounds,
            rate,
            threads,
            clients,
            nginx: nginx || case.wants_nginx(),
        })
    }
}

fn number(flag: &str, value: &str, range: std::ops::RangeInclusive<u32>) -> anyhow::Result<u32> {
    let number = value.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| {
        anyhow::anyhow!("{flag} {value}: a whole number from {} to {}", range.start(), range.end())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_as_the_case_has_it() {
        let options = Options::read(&[]).expect("defaults");
        assert_eq!(
            (options.case, options.connections, options.seconds, options.rounds),
            (Case::Closed, 64, 5, 5)
        );
        let options = Options::read(&["--case", "paced", "--rounds", "2"]).expect("a case");
        assert_eq!((options.connections, options.seconds, options.rounds), (2_500, 60, 2));
        assert_eq!((options.rate, options.threads), (None, 1));
        let options = Options::read(&["--only", "wrk,gauntlet-status"]).expect("two clients");
        assert_eq!(options.clients, [Client::Wrk, Client::GauntletStatus]);
    }

    #[test]
    fn a_schedule_may_have_another_rate_and_clients_more_threads() {
        // The order of flags says nothing.
        let options = Options::read(&["--rate", "100000", "--case", "paced-hard", "--threads", "2"]);
        let options = options.expect("a rate and two threads");
        assert_eq!((options.rate, options.threads, options.connections), (Some(100_000), 2, 10_000));
    }

    #[test]
    fn mistakes_name_what_there_is() {
        for (wrong, told) in [
            (["--case", "x"], "closed"),
            (["--only", "x"], "oha"),
            (["--rounds", "0"], "1 to 100"),
            (["--rate", "0.5"], "whole number from 1"),
            (["--rate", "500"], "case closed has no schedule"),
            (["--threads", "0"], "1 to 64"),
            (["--x", "1"], "--seconds"),
        ] {
            let error = Options::read(&wrong).expect_err("a mistake").to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
