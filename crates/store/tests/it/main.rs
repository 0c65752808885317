//! The store's promises, as every kind of store must keep them ([`contract`]), and what is SQLite's own ([`sqlite`]).

#[cfg(test)]
mod contract;
#[cfg(test)]
mod sqlite;
