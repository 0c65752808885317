//! Compatibility of what services say to each other and keep: the bytes of messages, the JSON of events, the subjects.

#[cfg(test)]
mod events;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod subjects;
