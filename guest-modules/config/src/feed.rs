//! Files of rows.

use gauntlet_sdk::RowOrder;

use crate::keys::{Keys, Problems};

/// The file under the key `feed`, and the order under `feed-order`.
pub fn feed(keys: &mut Keys<'_>, problems: &mut Problems) -> (Option<String>, RowOrder) {
    let feed = keys.text("feed", problems).map(str::to_owned);
    if feed.as_deref() == Some("") {
        problems.add(&keys.at("feed"), "the name of the file is empty", "write feed = \"items.csv\"");
    }
    let words = [("sequential", RowOrder::Sequential), ("random", RowOrder::Random)];
    let order = keys.word("feed-order", &words, problems);
    if order.is_some() && feed.is_none() {
        problems.add(&keys.at("feed-order"), "the step has no feed", "write feed = \"items.csv\", too");
    }
    (feed, order.unwrap_or_default())
}
