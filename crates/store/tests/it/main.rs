//! The store's promises, as every kind of store must keep them ([`contract`]), and what is SQLite's ([`sqlite`]) and
//! PostgreSQL's own ([`postgres`]).

#[cfg(test)]
mod contract;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod sqlite;
