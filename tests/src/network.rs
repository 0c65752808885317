//! Two network namespaces of the test's own, joined by two cables, of which a test can pull one. Nothing outside reaches in.

use std::fs::File;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::wait;

/// The near end of the cable that can be pulled.
pub const CUT: Ipv4Addr = Ipv4Addr::new(10, 251, 1, 1);
/// The near end of the cable that stays.
pub const KEPT: Ipv4Addr = Ipv4Addr::new(10, 251, 2, 1);

/// A namespace, which lasts as long as a process in it: it is gone with this one, however the test ends.
struct Space {
    holder: Child,
    file: File,
}

/// Two namespaces with two cables between them; gone with the value.
pub struct Network {
    near: Space,
    far: Space,
}

/// One of the two.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    /// It has the addresses [`CUT`] and [`KEPT`].
    Near,
    /// It reaches both.
    Far,
}

impl Network {
    /// Makes it. Needs the rights of root.
    ///
    /// # Errors
    /// Why it cannot be made here.
    pub fn new() -> Result<Self, String> {
        let network = Self { near: Space::new()?, far: Space::new()? };
        let far = network.far.holder.id().to_string();
        network.inside(Side::Near, || {
            ip(&["link", "set", "lo", "up"])?;
            for (name, own) in [("cut", CUT), ("kept", KEPT)] {
                let [a, b, c, _] = own.octets();
                ip(&["link", "add", name, "type", "veth", "peer", "name", name, "netns", &far])?;
                ip(&["address", "add", &format!("{own}/24"), "dev", name])?;
                ip(&["link", "set", name, "up"])?;
                let other = format!("{}/24", Ipv4Addr::new(a, b, c, 2));
                network.inside(Side::Far, || {
                    ip(&["address", "add", &other, "dev", name])?;
                    ip(&["link", "set", name, "up"])
                })?;
            }
            network.inside(Side::Far, || ip(&["link", "set", "lo", "up"]))
        })?;
        Ok(network)
    }

    /// Does something on one side: processes that it starts are there, and sockets that it opens.
    ///
    /// # Panics
    /// When the namespace cannot be entered or left.
    #[expect(clippy::expect_used, reason = "a test's set-up may panic")]
    pub fn inside<T>(&self, side: Side, work: impl FnOnce() -> T) -> T {
        /// Brings the thread back, also when the work panics.
        struct Back(File);
        impl Drop for Back {
            fn drop(&mut self) {
                enter(&self.0).expect("back to the namespace that the thread came from");
            }
        }
        let space = match side {
            Side::Near => &self.near,
            Side::Far => &self.far,
        };
        let _back = Back(File::open("/proc/thread-self/ns/net").expect("the thread's namespace"));
        enter(&space.file).expect("enter a namespace that was entered before");
        work()
    }

    /// Pulls the first cable: neither side hears of it but by silence.
    ///
    /// # Panics
    /// When it cannot be pulled.
    #[expect(clippy::expect_used, reason = "a test may panic")]
    pub fn cut(&self) {
        self.inside(Side::Near, || ip(&["link", "set", "cut", "down"])).expect("pull the cable");
    }

    /// Plugs it in again.
    ///
    /// # Panics
    /// When it cannot be plugged in.
    #[expect(clippy::expect_used, reason = "a test may panic")]
    pub fn mend(&self) {
        self.inside(Side::Near, || ip(&["link", "set", "cut", "up"])).expect("plug the cable in");
    }
}

impl Space {
    fn new() -> Result<Self, String> {
        let mut holder = Command::new("unshare")
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let path = format!("/proc/{}/ns/net", holder.id());
        let entered = || {
            let own = std::fs::read_link("/proc/thread-self/ns/net").ok()?;
            let theirs = std::fs::read_link(&path).ok()?;
            (own != theirs).then(|| File::open(&path).ok()).flatten()
        };
        let ended = wait::until(
            "a namespace",
            Duration::from_secs(10),
            || match holder.try_wait() {
                Ok(None) => entered().map(Ok),
                _ => Some(Err(())),
            },
            String::new,
        );
        let Ok(file) = ended else {
            let output = holder.wait_with_output().map_err(|error| error.to_string())?;
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        };
        let space = Self { holder, file };
        enter_and_return(&space.file)?;
        Ok(space)
    }
}

/// Whether the thread may enter it.
fn enter_and_return(space: &File) -> Result<(), String> {
    let own = File::open("/proc/thread-self/ns/net").map_err(|error| error.to_string())?;
    enter(space).and_then(|()| enter(&own)).map_err(|error| format!("setns: {error}"))
}

fn enter(space: &File) -> rustix::io::Result<()> {
    move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output().map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

impl Drop for Space {
    fn drop(&mut self) {
        // Its input ends with the value in any case.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Says that a test was skipped, also where the output of tests that pass is not shown.
pub fn skipped(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "\nSKIPPED {test}: {why}");
}
