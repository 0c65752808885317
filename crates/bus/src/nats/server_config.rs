//! The configuration of a nats-server that serves a deployed suite: users, what each may do, where its streams are.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use protocol::access::{ROLES, permissions};

/// Characters of a bcrypt hash.
const BCRYPT: usize = 60;

/// What a nats-server for the suite is to be like.
#[derive(Clone)]
pub struct ServerConfig {
    /// Where it listens. Other than loopback, it needs [`ServerConfig::tls`] or [`ServerConfig::private_network`].
    pub listen: SocketAddr,
    /// Port on 127.0.0.1 for the server's own health (`/healthz`) and figures, which have no access control; `None` = nowhere.
    pub monitor_port: Option<u16>,
    /// Where JetStream keeps records and objects: on a disk that outlives the server.
    pub store_dir: PathBuf,
    /// Bytes that all of it may take on that disk; `None` = the server's own choice, which is three quarters of what is free.
    pub max_store: Option<u64>,
    /// The password of each of [`protocol::access::ROLES`], as it is or as its bcrypt hash (`$2a$…`). All must be given:
    /// a user without one could be anybody.
    pub passwords: Vec<(String, String)>,
    /// Certificates; `None` = the connection is in plain text, passwords included.
    pub tls: Option<ServerTls>,
    /// Whether plain text is borne on an address that others may reach. Meant for a network that only the suite's own
    /// containers are on: there a certificate protects from nobody, while nothing else keeps passwords and results from
    /// those who share a wire. Hence never a default.
    pub private_network: bool,
}

/// A server's certificates, all PEM files as the server sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// What it shows.
    pub certificate: PathBuf,
    /// The key of that.
    pub key: PathBuf,
    /// Who must have signed the clients' certificates; `None` = clients show none.
    pub client_ca: Option<PathBuf>,
}

impl std::fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Options are logged; passwords are not.
        f.debug_struct("ServerConfig")
            .field("listen", &self.listen)
            .field("monitor_port", &self.monitor_port)
            .field("store_dir", &self.store_dir)
            .field("max_store", &self.max_store)
            .field("tls", &self.tls)
            .field("private_network", &self.private_network)
            .finish_non_exhaustive()
    }
}

/// Why no configuration is made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerConfigError {
    /// Passwords would go over a network in plain text.
    #[error(
        "NATS configuration: listen address {listen} is not loopback, and there is no TLS: give a certificate, listen \
         on 127.0.0.1, or say that the network is private to the suite"
    )]
    PlainText {
        /// The address.
        listen: SocketAddr,
    },
    /// A user could not be told from anybody.
    #[error("NATS configuration: user {role} has no password: give each of {ROLES:?} one")]
    NoPassword {
        /// The user.
        role: String,
    },
    /// Two passwords for one user.
    #[error("NATS configuration: user {role} has two passwords: give one")]
    TwoPasswords {
        /// The user.
        role: String,
    },
    /// Nobody has that name.
    #[error("NATS configuration: a password for {found:?}, who is none of {ROLES:?}: correct the name")]
    UnknownRole {
        /// The name.
        found: String,
    },
    /// The server would take a password for a hash, which nothing matches.
    #[error(
        "NATS configuration: the password of {role} begins as a bcrypt hash but has {found} characters instead of \
         {BCRYPT}: give the whole hash, or another password"
    )]
    CutHash {
        /// The user.
        role: String,
        /// Its characters.
        found: usize,
    },
    /// The server reads its configuration as UTF-8.
    #[error("NATS configuration: path {} is not UTF-8: choose another", .path.display())]
    Path {
        /// The path.
        path: PathBuf,
    },
}

/// The text of a configuration file for nats-server: one user for each of [`protocol::access::ROLES`], who may do what
/// [`protocol::access::permissions`] says and nothing else. `max_payload` stays at the server's default, which suffices.
///
/// The text has the passwords in it: whoever writes it to a file keeps others from reading that.
///
/// # Errors
/// When passwords are missing or unusable, or would be sent over a network in plain text.
pub fn server_config(config: &ServerConfig) -> Result<String, ServerConfigError> {
    let ServerConfig { listen, monitor_port, store_dir, max_store, passwords, tls, private_network } = config;
    if !listen.ip().is_loopback() && tls.is_none() && !private_network {
        return Err(ServerConfigError::PlainText { listen: *listen });
    }
    if let Some((found, _)) = passwords.iter().find(|(role, _)| !ROLES.contains(&role.as_str())) {
        return Err(ServerConfigError::UnknownRole { found: found.clone() });
    }
    let mut lines = vec![format!("listen: {}", quoted(&listen.to_string()))];
    lines.extend(monitor_port.map(|port| format!("http: \"127.0.0.1:{port}\"")));
    lines.push("jetstream {".to_owned());
    lines.push(format!("  store_dir: {}", path(store_dir)?));
    lines.extend(max_store.map(|bytes| format!("  max_file_store: {bytes}")));
    lines.push("}".to_owned());
    if let Some(ServerTls { certificate, key, client_ca }) = tls {
        lines.push("tls {".to_owned());
        lines.push(format!("  cert_file: {}", path(certificate)?));
        lines.push(format!("  key_file: {}", path(key)?));
        if let Some(ca) = client_ca {
            lines.push(format!("  ca_file: {}", path(ca)?));
            lines.push("  verify: true".to_owned());
        }
        lines.push("}".to_owned());
    }
    lines.push("authorization {".to_owned());
    lines.push("  users: [".to_owned());
    for role in ROLES {
        user(&mut lines, role, password(passwords, role)?);
    }
    lines.extend(["  ]", "}", ""].map(str::to_owned));
    Ok(lines.join("\n"))
}

fn user(lines: &mut Vec<String>, role: &str, password: &str) {
    let allowed = permissions(role);
    lines.push(format!("    {{ user: {}, password: {}", quoted(role), quoted(password)));
    lines.push("      permissions: {".to_owned());
    for (verb, subjects) in [("publish", allowed.publish), ("subscribe", allowed.subscribe)] {
        lines.push(format!("        {verb}: {{ allow: ["));
        lines.extend(subjects.iter().map(|subject| format!("          {}", quoted(subject))));
        lines.push("        ] }".to_owned());
    }
    lines.push("      } }".to_owned());
}

/// The one password of a role.
fn password<'a>(passwords: &'a [(String, String)], role: &str) -> Result<&'a str, ServerConfigError> {
    let mut of_role = passwords.iter().filter(|(of, _)| of == role);
    let role = || role.to_owned();
    let Some((_, password)) = of_role.next().filter(|(_, password)| !password.is_empty()) else {
        return Err(ServerConfigError::NoPassword { role: role() });
    };
    if of_role.next().is_some() {
        return Err(ServerConfigError::TwoPasswords { role: role() });
    }
    let found = password.chars().count();
    if looks_hashed(password) && found != BCRYPT {
        return Err(ServerConfigError::CutHash { role: role(), found });
    }
    Ok(password)
}

/// Whether the server takes a password for a hash: `$2a$10$…`.
fn looks_hashed(password: &str) -> bool {
    match password.as_bytes() {
        [b'$', b'2', kind, b'$', tens, ones, b'$', ..] => {
            b"abxy".contains(kind) && tens.is_ascii_digit() && ones.is_ascii_digit()
        }
        _ => false,
    }
}

fn path(path: &Path) -> Result<String, ServerConfigError> {
    path.to_str().map(quoted).ok_or_else(|| ServerConfigError::Path { path: path.to_owned() })
}

/// A string as the server's configuration has it. Quoted, so that `$` names no variable and `#` begins no comment.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            character if character.is_ascii_control() => {
                // Writing to a string cannot fail.
                let _ = write!(quoted, "\\x{:02X}", u32::from(character));
            }
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ServerConfig {
        ServerConfig {
            listen: "127.0.0.1:4222".parse().unwrap(),
            monitor_port: None,
            store_dir: "/data".into(),
            max_store: None,
            passwords: ROLES.map(|role| (role.to_owned(), format!("{role}'s"))).into(),
            tls: None,
            private_network: false,
        }
    }

    #[test]
    fn every_role_is_a_user_with_what_it_may_do() {
        let text = server_config(&config()).unwrap();
        for role in ROLES {
            assert!(text.contains(&format!("{{ user: \"{role}\", password: \"{role}'s\"")), "{text}");
            let allowed = permissions(role);
            for subject in allowed.publish.iter().chain(&allowed.subscribe) {
                assert!(text.contains(&format!("          \"{subject}\"\n")), "{subject}");
            }
        }
        assert!(!text.contains("max_payload") && !text.contains("tls") && !text.contains("http"));
    }

    #[test]
    fn the_servers_own_health_is_on_this_machine_alone() {
        let everywhere = "0.0.0.0:4222".parse().unwrap();
        let config =
            ServerConfig { listen: everywhere, private_network: true, monitor_port: Some(8_222), ..config() };
        let text = server_config(&config).unwrap();
        assert!(text.contains("\nhttp: \"127.0.0.1:8222\"\n"), "{text}");
    }

    #[test]
    fn plain_text_stays_on_this_machine_unless_the_network_is_private() {
        let listen = "0.0.0.0:4222".parse().unwrap();
        let open = ServerConfig { listen, ..config() };
        let error = server_config(&open).unwrap_err();
        assert_eq!(error, ServerConfigError::PlainText { listen });
        assert!(error.to_string().contains("0.0.0.0:4222") && error.to_string().contains("certificate"));
        assert!(server_config(&ServerConfig { private_network: true, ..open.clone() }).is_ok());
        let tls = ServerTls { certificate: "c.pem".into(), key: "k.pem".into(), client_ca: None };
        let text = server_config(&ServerConfig { tls: Some(tls.clone()), ..open.clone() }).unwrap();
        assert!(text.contains("cert_file: \"c.pem\"") && !text.contains("verify"), "{text}");
        let tls = ServerTls { client_ca: Some("ca.pem".into()), ..tls };
        let text = server_config(&ServerConfig { tls: Some(tls), ..open }).unwrap();
        assert!(text.contains("ca_file: \"ca.pem\"\n  verify: true"), "{text}");
        assert!(server_config(&ServerConfig { listen: "[::1]:4222".parse().unwrap(), ..config() }).is_ok());
    }

    #[test]
    fn each_role_needs_one_usable_password() {
        let with = |role: &str, password: &str| {
            let mut config = config();
            config.passwords.push((role.to_owned(), password.to_owned()));
            config
        };
        let refused = |config: &ServerConfig| server_config(config).unwrap_err();
        let role = || "cli".to_owned();
        assert_eq!(refused(&with("cli", "x")), ServerConfigError::TwoPasswords { role: role() });
        assert_eq!(refused(&with("root", "x")), ServerConfigError::UnknownRole { found: "root".to_owned() });
        let mut missing = config();
        missing.passwords.retain(|(role, _)| role != "cli");
        assert_eq!(refused(&missing), ServerConfigError::NoPassword { role: role() });
        missing.passwords.push((role(), String::new()));
        assert_eq!(refused(&missing), ServerConfigError::NoPassword { role: role() });
        missing.passwords.pop();
        missing.passwords.push((role(), "$2a$10$short".to_owned()));
        assert_eq!(refused(&missing), ServerConfigError::CutHash { role: role(), found: 12 });
        missing.passwords.pop();
        missing.passwords.push((role(), format!("$2a$10${}", "x".repeat(53))));
        assert!(server_config(&missing).is_ok());
    }

    #[test]
    fn passwords_are_not_shown_and_cannot_leave_their_quotes() {
        assert!(!format!("{:?}", config()).contains("cli's"));
        assert_eq!(quoted("a\"b\\c$D#\n\u{e9}"), "\"a\\\"b\\\\c$D#\\x0A\u{e9}\"");
    }
}
