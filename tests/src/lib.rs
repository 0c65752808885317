//! End-to-end tests across processes, with real servers.
