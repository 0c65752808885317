//! The bus's promises, as every transport must keep them ([`contract`]), over each transport.

#[cfg(test)]
mod contract;
#[cfg(test)]
mod in_process;
#[cfg(test)]
mod nats;
