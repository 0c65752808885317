//! The gauntlet command: runs everything in one process, or drives a deployed suite.
