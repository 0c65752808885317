//! Streaming replicas of a server.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::Instant;

use super::{DEADLINE, PASSWORD, Postgres, Settings, USER, give_away, pause};

impl Postgres {
    /// Starts a server and `count` hot standbys that stream from it, each on a free port. They follow it within moments, and
    /// again after it was killed and started anew; nothing waits for them (`synchronous_standby_names` is empty).
    ///
    /// # Panics
    /// When one cannot be started, or does not stream.
    #[must_use]
    pub fn start_with_replicas(settings: &Settings, count: usize) -> (Self, Vec<Self>) {
        let mut primary = Self::new(settings.clone());
        primary.initialise();
        // A copy of files on which no server runs is a backup; it needs no program that comes with clients only.
        let mut replicas: Vec<Self> = (0..count).map(|_| primary.copy(settings.clone())).collect();
        primary.start_again();
        replicas.iter_mut().for_each(Self::start_again);
        let streaming = || {
            let found = primary
                .execute("postgres", "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'");
            found == [count.to_string()]
        };
        let started = Instant::now();
        while !streaming() {
            assert!(started.elapsed() < DEADLINE, "not all {count} replicas stream:\n{}", primary.log());
            pause();
        }
        (primary, replicas)
    }

    /// The files of one that is to follow this one, which must not run yet.
    fn copy(&self, settings: Settings) -> Self {
        let replica = Self::new(settings);
        let home = replica.home.path();
        give_away(home);
        let copied = replica
            .command("cp")
            .arg("-a")
            .arg(self.home.path().join("data"))
            .arg(home)
            .status()
            .expect("start cp");
        assert!(copied.success(), "cp: {copied}");
        let data = home.join("data");
        std::fs::write(data.join("standby.signal"), "").expect("write a file of the replica");
        let primary = format!(
            "primary_conninfo = 'host=127.0.0.1 port={} user={USER} password={PASSWORD}'\n",
            self.port
        );
        OpenOptions::new()
            .append(true)
            .open(data.join("postgresql.auto.conf"))
            .and_then(|mut file| file.write_all(primary.as_bytes()))
            .expect("write the settings of the replica");
        give_away(&data.join("standby.signal"));
        replica
    }
}
