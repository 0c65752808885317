//! What a server can be asked about items, whatever it is.

use crate::items::Item;

/// A question; each server has its own words for it.
#[derive(Clone, Debug)]
pub(super) enum Query {
    /// The item with this id.
    Item(u64),
    /// Those with these ids, in any order.
    Items(Vec<u64>),
    /// Items by id, from the `offset` on, and how many there are.
    Page {
        /// Those before it are left out.
        offset: usize,
        /// So many at most.
        limit: usize,
    },
    /// The first items whose names contain the text.
    Search {
        /// Taken as it is.
        text: String,
        /// So many at most.
        limit: usize,
    },
    /// Takes a new item, and gives it with its id. The answer comes once it is committed.
    Add {
        /// Its name.
        name: String,
        /// Its price.
        price: f64,
    },
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// Of a page: how many items there are.
    pub(super) total: usize,
    pub(super) items: Vec<Item>,
}

impl Answer {
    pub(super) fn of(items: Vec<Item>) -> Self {
        Self { total: 0, items }
    }
}

/// Ids and counts are below 2^63 on every server; what is not is no item's.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
