//! Drivers that start, stop and observe the systems under test.
