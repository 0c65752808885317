//! The servers start, and none outlives the process that started it.

#[cfg(test)]
mod postgres;
