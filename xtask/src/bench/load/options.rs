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
    pub(super) clients: Vec<Client>,
    /// nginx instead of the bare server, where a case leaves the choice.
    pub(super) nginx: bool,
}

impl Options {
    /// Reads them; what is not said is as the case has it.
    pub(crate) fn read(arguments: &[&str]) -> anyhow::Result<Self> {
        let (mut case, mut connections, mut seconds, mut rounds, mut only) =
            (Case::Closed, None, None, 5, None);
        let mut nginx = false;
        let mut rest = arguments.iter();
        while let Some(&flag) = rest.next() {
            let value = rest.next().copied();
            let value = value.ok_or_else(|| anyhow::anyhow!("{flag} wants a value"))?;
            match flag {
                "--case" => case = Case::named(value)?,
                "--connections" => connections = Some(number(flag, value, 1..=18_000)?),
                "--seconds" => seconds = Some(number(flag, value, 1..=3_600)?),
                "--rounds" => rounds = number(flag, value, 1..=100)?,
                "--only" => only = Some(value),
                "--target" => {
                    nginx = match value {
                        "bare" => false,
                        "nginx" => true,
                        _ => anyhow::bail!("--target {value}: `bare` or `nginx`"),
                    }
                }
                _ => anyhow::bail!(
                    "{flag} is no flag of bench load; there are --case, --connections, --seconds, --rounds, --only and --target"
                ),
            }
        }
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
        let options = Options::read(&["--only", "wrk,gauntlet-status"]).expect("two clients");
        assert_eq!(options.clients, [Client::Wrk, Client::GauntletStatus]);
    }

    #[test]
    fn mistakes_name_what_there_is() {
        for (wrong, told) in [
            (["--case", "x"], "closed"),
            (["--only", "x"], "oha"),
            (["--rounds", "0"], "1 to 100"),
            (["--x", "1"], "--seconds"),
        ] {
            let error = Options::read(&wrong).expect_err("a mistake").to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
