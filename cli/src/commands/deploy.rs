//! `gauntlet deploy secrets`: what a deployed suite's parts know of each other and nobody else may.
//!
//! A directory for each part, so that each is given its own and no other:
//!
//! | file | what it is |
//! |---|---|
//! | `<role>/nats-password` | of each user of NATS: `scheduler`, `load`, `metrics`, `chaos`, `recovery`, `cli` |
//! | `postgres/password` | of the database's one user; copies in `scheduler/` and `metrics/` as `postgres-password` |
//! | `scheduler/api-token` | what callers of the HTTP API send; a copy in `cli/` |
//! | `nats/nats.conf` | the server's configuration: users, with their passwords, and what each may do |
//!
//! A secret that is there is never overwritten. Copies and the configuration follow from the secrets and from this version's
//! table of messages: they are written again when they differ.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use bus::{ServerConfig, server_config};
use protocol::access::ROLES;

use crate::args::{DeployCommand, SecretsArgs};
use crate::failure::Failure;
use crate::output;

/// Random bytes of a secret: 256 bits cannot be guessed.
const BYTES: usize = 32;
/// Owner and group read. The group, because a database runs under a user of its own in the suite's group.
const FILE: u32 = 0o440;
const DIR: u32 = 0o750;

/// A secret, and where others have it from.
struct Secret {
    file: String,
    copies: &'static [&'static str],
}

fn secrets() -> Vec<Secret> {
    let of_roles = ROLES.iter().map(|role| Secret { file: nats_password(role), copies: &[] });
    let shared = [
        Secret {
            file: "postgres/password".to_owned(),
            copies: &["scheduler/postgres-password", "metrics/postgres-password"],
        },
        Secret { file: "scheduler/api-token".to_owned(), copies: &["cli/api-token"] },
    ];
    of_roles.chain(shared).collect()
}

fn nats_password(role: &str) -> String {
    format!("{role}/nats-password")
}

pub(crate) fn dispatch(command: DeployCommand) -> Result<u8, Failure> {
    match command {
        DeployCommand::Secrets(args) => {
            let made = make(&args)?;
            let shown = args.dir.display();
            if made.is_empty() {
                output::line(&format!("{shown}: all is there"));
            } else {
                output::line(&format!("{shown}: made {}", made.join(", ")));
            }
            Ok(0)
        }
    }
}

/// Makes what is missing; gives the names of what was written.
fn make(args: &SecretsArgs) -> Result<Vec<String>, Failure> {
    let dir = &args.dir;
    let mut made = Vec::new();
    for Secret { file, copies } in secrets() {
        let secret = match read(&dir.join(&file))? {
            Some(secret) => secret,
            None => {
                let fresh = random()?;
                write(&dir.join(&file), &fresh)?;
                made.push(file.clone());
                fresh
            }
        };
        for copy in copies {
            follow(dir, copy, &secret, &mut made)?;
        }
    }
    let mut passwords = Vec::new();
    for role in ROLES {
        let file = dir.join(nats_password(role));
        let password = read(&file)?.ok_or_else(|| {
            Failure::environment(format!("{} was removed while secrets were made: try again", file.display()))
        })?;
        passwords.push((role.to_owned(), password.trim_end_matches(['\r', '\n']).to_owned()));
    }
    let config = ServerConfig {
        listen: args.nats_listen,
        monitor_port: args.nats_monitor_port,
        store_dir: args.nats_store_dir.clone(),
        max_store: None,
        passwords,
        tls: None,
        private_network: args.private_network,
    };
    let text = server_config(&config).map_err(|error| Failure::input(error.to_string()))?;
    follow(dir, "nats/nats.conf", &text, &mut made)?;
    Ok(made)
}

/// Writes what follows from something else, if it is not there as it should be.
fn follow(dir: &Path, name: &str, text: &str, made: &mut Vec<String>) -> Result<(), Failure> {
    let path = dir.join(name);
    // One that is empty or no text is written again, too.
    if fs::read(&path).ok().as_deref() != Some(text.as_bytes()) {
        write(&path, text)?;
        made.push(name.to_owned());
    }
    Ok(())
}

/// A secret's whole text; `None` = there is none yet.
fn read(path: &Path) -> Result<Option<String>, Failure> {
    let shown = path.display();
    match fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Err(Failure::environment(format!(
            "{shown}: found an empty file, expected a secret: remove the file to have another made"
        ))),
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::environment(format!("cannot read {shown}: {error}"))),
    }
}

fn random() -> Result<String, Failure> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::environment(format!("the system gives no random numbers: {error}")))?;
    let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    text.push('\n');
    Ok(text)
}

/// Writes a file whole or not at all, readable for its owner and group.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::environment(format!(
            "cannot write {}: {error}; choose a directory that is yours",
            path.display()
        ))
    };
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(DIR).create(dir).map_err(failed)?;
    }
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    match fs::remove_file(partial) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(FILE).open(partial).map_err(failed)?;
    // Whatever the mask of this process is: it would else keep the group out.
    file.set_permissions(Permissions::from_mode(FILE)).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    fs::rename(partial, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn args(dir: &Path) -> SecretsArgs {
        SecretsArgs {
            dir: dir.to_owned(),
            nats_listen: "127.0.0.1:4222".parse().unwrap(),
            nats_monitor_port: None,
            nats_store_dir: "/var/lib/nats".into(),
            private_network: false,
        }
    }

    fn text(dir: &Path, name: &str) -> String {
        fs::read_to_string(dir.join(name)).unwrap()
    }

    #[test]
    fn each_part_has_its_own_secrets_and_they_are_random() {
        let dir = tempfile::tempdir().unwrap();
        let made = make(&args(dir.path())).unwrap();
        let found: BTreeSet<String> = made.iter().cloned().collect();
        assert_eq!(found.len(), made.len(), "{made:?}");
        for role in ROLES {
            assert!(found.contains(&format!("{role}/nats-password")), "{made:?}");
        }
        let truths: BTreeSet<String> =
            secrets().iter().map(|secret| text(dir.path(), &secret.file)).collect();
        assert_eq!(truths.len(), secrets().len(), "no two are the same");
        assert!(truths.iter().all(|secret| secret.len() == 2 * BYTES + 1), "{truths:?}");
        for copy in ["scheduler/postgres-password", "metrics/postgres-password"] {
            assert_eq!(text(dir.path(), copy), text(dir.path(), "postgres/password"));
        }
        assert_eq!(text(dir.path(), "cli/api-token"), text(dir.path(), "scheduler/api-token"));
        assert!(!dir.path().join("load/postgres-password").exists(), "workers know of no database");
        for name in &made {
            let mode = fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, FILE, "{name}");
        }
        let config = text(dir.path(), "nats/nats.conf");
        for role in ROLES {
            let password = text(dir.path(), &nats_password(role));
            let user = format!("user: \"{role}\", password: \"{}\"", password.trim_end());
            assert!(config.contains(&user), "{role}");
        }
    }

    #[test]
    fn secrets_stay_and_only_what_is_missing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        make(&args(dir.path())).unwrap();
        let before = text(dir.path(), "load/nats-password");
        assert!(make(&args(dir.path())).unwrap().is_empty());
        fs::remove_file(dir.path().join("cli/nats-password")).unwrap();
        let config = text(dir.path(), "nats/nats.conf");
        assert_eq!(make(&args(dir.path())).unwrap(), ["cli/nats-password", "nats/nats.conf"]);
        assert_eq!(text(dir.path(), "load/nats-password"), before);
        assert_ne!(text(dir.path(), "nats/nats.conf"), config, "the server knows the new password");

        // One that an operator chose is as good.
        fs::remove_file(dir.path().join("postgres/password")).unwrap();
        fs::write(dir.path().join("postgres/password"), "chosen").unwrap();
        let made = make(&args(dir.path())).unwrap();
        assert_eq!(made, ["scheduler/postgres-password", "metrics/postgres-password"]);
        assert_eq!(text(dir.path(), "metrics/postgres-password"), "chosen");
    }

    #[test]
    fn what_cannot_be_used_is_refused_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let open = SecretsArgs { nats_listen: "0.0.0.0:4222".parse().unwrap(), ..args(dir.path()) };
        let refused = make(&open).unwrap_err();
        assert!(refused.code() == 2 && refused.to_string().contains("0.0.0.0:4222"), "{refused}");
        let private = SecretsArgs { private_network: true, nats_monitor_port: Some(8_222), ..open };
        assert_eq!(make(&private).unwrap(), ["nats/nats.conf"]);
        assert!(text(dir.path(), "nats/nats.conf").contains("http: \"127.0.0.1:8222\""));

        fs::remove_file(dir.path().join("load/nats-password")).unwrap();
        fs::write(dir.path().join("load/nats-password"), "\n").unwrap();
        let refused = make(&private).unwrap_err();
        assert!(refused.code() == 3 && refused.to_string().contains("load/nats-password"), "{refused}");
    }
}
