//! The published revisions of the protocol, and in what they differ.

/// A revision of the protocol that this guest speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Revision {
    V2024_11_05,
    V2025_03_26,
    V2025_06_18,
    V2025_11_25,
    V2026_07_28,
}

/// How messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// A GET stream that carries all answers, and POSTs to an address that the stream names.
    EventStream,
    /// A POST each; the answer is JSON or a stream of its own. Sessions.
    Streamable,
    /// The same without sessions and without requests of the server: each request says all about itself.
    Stateless,
}

/// What a revision asks of both sides, beyond its transport.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) name: &'static str,
    pub(crate) transport: Transport,
    /// `MCP-Protocol-Version` goes with every request after the first.
    pub(crate) version_header: bool,
    /// A body may be an array of messages.
    pub(crate) batches: bool,
    /// There is `ping`.
    pub(crate) ping: bool,
    /// A stream that broke off may be taken up again with `Last-Event-ID`.
    pub(crate) resumes: bool,
    /// A 401 has to say with `WWW-Authenticate` where to get a token.
    pub(crate) challenge: bool,
}

const RULES: [Rules; 5] = [
    Rules {
        name: "2024-11-05",
        transport: Transport::EventStream,
        version_header: false,
        batches: false,
        ping: true,
        resumes: false,
        challenge: false,
    },
    Rules {
        name: "2025-03-26",
        transport: Transport::Streamable,
        version_header: false,
        batches: true,
        ping: true,
        resumes: true,
        challenge: false,
    },
    Rules {
        name: "2025-06-18",
        transport: Transport::Streamable,
        version_header: true,
        batches: false,
        ping: true,
        resumes: true,
        challenge: true,
    },
    Rules {
        name: "2025-11-25",
        transport: Transport::Streamable,
        version_header: true,
        batches: false,
        ping: true,
        resumes: true,
        // The header became optional: well-known addresses stand in for it.
        challenge: false,
    },
    Rules {
        name: "2026-07-28",
        transport: Transport::Stateless,
        version_header: true,
        batches: false,
        ping: false,
        resumes: false,
        challenge: false,
    },
];

impl Revision {
    pub(crate) const ALL: [Self; 5] =
        [Self::V2024_11_05, Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];

    /// The newest with a handshake: what a client of all of them asks for first.
    pub(crate) const NEWEST_WITH_HANDSHAKE: Self = Self::V2025_11_25;

    pub(crate) const fn rules(self) -> &'static Rules {
        &RULES[self as usize]
    }

    pub(crate) const fn transport(self) -> Transport {
        self.rules().transport
    }

    pub(crate) const fn name(self) -> &'static str {
        self.rules().name
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|revision| revision.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_revision_has_its_own_rules() {
        for revision in Revision::ALL {
            assert_eq!(Revision::of(revision.name()), Some(revision));
        }
        assert_eq!(Revision::of("2099-01-01"), None);
        assert!(Revision::V2025_03_26.rules().batches && !Revision::V2025_06_18.rules().batches);
        assert!(!Revision::V2026_07_28.rules().ping);
    }
}
