//! What a controller and its agent say to each other: one JSON object a line.

use platform::identity::ProcessId;
use serde::{Deserialize, Serialize};

use crate::action::Action;

/// What a controller asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Begin a fault. Answered by [`Reply::Injected`] or [`Reply::Refused`].
    Inject {
        /// Its name, unique in the state directory: 1 to 100 letters, digits, `.`, `_`, `-`, `:`; no `.` first.
        id: String,
        /// What it does.
        action: Action,
        /// How long at most, in milliseconds.
        duration_ms: u64,
        /// Ends it when the controller has been silent for so long; `None` = the agent's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lease_ms: Option<u64>,
    },
    /// The controller lives: all leases begin anew. Answered by [`Reply::Renewed`].
    Renew,
    /// End a fault now. Answered by [`Reply::Ended`], [`Reply::Unrecovered`] or, when there is none, [`Reply::Refused`].
    End {
        /// Its name.
        id: String,
    },
    /// Say what is held. Answered by [`Reply::Faults`].
    List,
    /// Undo all and exit. Answered as each fault ends.
    Quit,
}

/// What an agent says: answers, and what happens by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
pub enum Reply {
    /// It has undone what a former agent left, its guardian watches, and it takes requests.
    Ready {
        /// The agent's process.
        agent: ProcessId,
        /// Its guardian's.
        guardian: ProcessId,
    },
    /// A fault is in effect, as the system was seen to be.
    Injected(Injected),
    /// A fault is over, as the system was seen to be. Said once for each fault, however it ends.
    Ended(Ended),
    /// A fault could not be undone, or that it is undone could not be seen. The agent tries again; nothing is injected
    /// until it succeeds, which is then told by [`Reply::Ended`].
    Unrecovered(Unrecovered),
    /// A request was refused, and nothing of it was done.
    Refused(Refused),
    /// Leases begin anew.
    Renewed,
    /// What is held.
    Faults {
        /// Each fault's name and what it does.
        faults: Vec<(String, String)>,
    },
    /// The guardian died or hung, and another watches now.
    Guardian {
        /// The new one.
        guardian: ProcessId,
        /// What became of the former one.
        why: String,
    },
}

/// A fault is in effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Injected {
    /// Its name.
    pub id: String,
    /// When the first of it was done, in milliseconds of Unix time. What is found from then on may be its doing.
    pub began_ms: u64,
    /// When all of it was seen in effect, in milliseconds of Unix time. Its duration counts from here.
    pub at_ms: u64,
    /// What was read back from the system.
    pub seen: String,
}

/// A fault is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Its name.
    pub id: String,
    /// Why.
    pub how: How,
    /// When it was seen to be undone, in milliseconds of Unix time.
    pub at_ms: u64,
    /// How long the undo took with its verification, in milliseconds.
    pub undo_ms: u64,
    /// What was read back from the system.
    pub verified: String,
}

/// Why a fault ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// The controller asked for it.
    Asked,
    /// Its duration was over.
    Duration,
    /// The controller was silent for as long as its lease.
    Lease,
    /// The controller closed its end, or died.
    ControllerGone,
    /// The agent was told to quit.
    Quit,
    /// The agent died or hung; its guardian undid the fault.
    AgentGone,
    /// A former agent and its guardian left it; the next start undid it.
    LeftOver,
    /// Nothing of what it held is alive any more.
    VictimsGone,
    /// What carried it out ended early, such as a process that the kernel ended for want of memory.
    BrokeOff,
    /// No guardian could be started, and without one nothing is held.
    NoGuardian,
}

/// A fault that could not be shown to be undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unrecovered {
    /// Its name; `journal` = lines of the journal that cannot be read.
    pub id: String,
    /// What was found, and how to mend it by hand.
    pub detail: String,
}

/// A request that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The fault's name; empty when the request could not be read.
    pub id: String,
    /// What was found.
    pub problem: String,
    /// What would make it pass.
    pub mend: String,
}
