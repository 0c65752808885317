//! The stress cycle controller: runs, phases, decisions, history and the public HTTP API.
