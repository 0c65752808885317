//! Recipes in the words of the fault proxy.

use std::time::Duration;

use fault_proxy::toxic::{
    Attributes, Bandwidth, Http, HttpEffect, Latency, LimitData, PacketLoss, ResetPeer, Slicer, SlowClose,
    Stream, Timeout,
};
use plan::model::{Direction, Recipe};

/// What is done to a proxy.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Deed {
    /// It has this toxic, on this stream.
    Toxic(Stream, Attributes),
    /// It does not listen.
    Refuse,
}

/// What a recipe does to a proxy; `None` = it is nothing that a proxy does.
pub(crate) fn deed(recipe: &Recipe) -> Option<Deed> {
    let toxic = |direction: &Direction, attributes| Some(Deed::Toxic(stream(*direction), attributes));
    match recipe {
        Recipe::Latency { latency, jitter, direction } => {
            let attributes = Latency { latency: millis(*latency), jitter: millis(*jitter) };
            toxic(direction, Attributes::Latency(attributes))
        }
        Recipe::Bandwidth { bytes_per_second, direction } => {
            // Rate 0 would let nothing pass.
            let rate = bytes_per_second.div_ceil(1_000).max(1);
            toxic(direction, Attributes::Bandwidth(Bandwidth { rate }))
        }
        Recipe::Partition { direction } => toxic(direction, Attributes::Timeout(Timeout { timeout: 0 })),
        Recipe::Refuse => Some(Deed::Refuse),
        // At the first data of a request, so that nothing of it comes to the target.
        Recipe::Reset { after } => {
            let attributes = ResetPeer { timeout: millis(*after), established: true };
            toxic(&Direction::ToTarget, Attributes::ResetPeer(attributes))
        }
        Recipe::SlowClose { delay } => {
            toxic(&Direction::Both, Attributes::SlowClose(SlowClose { delay: millis(*delay) }))
        }
        Recipe::Slicer { size, variation, delay, direction } => {
            let delay = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
            let attributes = Slicer { average_size: *size, size_variation: *variation, delay };
            toxic(direction, Attributes::Slicer(attributes))
        }
        Recipe::LimitData { bytes, direction } => {
            toxic(direction, Attributes::LimitData(LimitData { bytes: *bytes }))
        }
        Recipe::PacketLoss { loss, correlation, direction } => {
            let attributes = PacketLoss { loss_rate: *loss, correlation: *correlation };
            toxic(direction, Attributes::PacketLoss(attributes))
        }
        Recipe::HttpAbort { share } => toxic(&Direction::ToTarget, http(*share, HttpEffect::Abort {})),
        Recipe::HttpDelay { share, delay } => {
            toxic(&Direction::FromTarget, http(*share, HttpEffect::Delay { delay: millis(*delay) }))
        }
        Recipe::HttpStatus { share, status } => {
            toxic(&Direction::FromTarget, http(*share, HttpEffect::Status { status: u64::from(*status) }))
        }
        Recipe::HttpHeader { share, header, value, direction } => {
            let effect = HttpEffect::Header { name: header.clone(), value: value.clone() };
            toxic(direction, http(*share, effect))
        }
        Recipe::HttpBody { share, direction } => toxic(direction, http(*share, HttpEffect::Body {})),
        Recipe::Kill
        | Recipe::Pause
        | Recipe::Restart
        | Recipe::ClockSkew { .. }
        | Recipe::Cpu { .. }
        | Recipe::Memory { .. }
        | Recipe::Connections { .. }
        | Recipe::DiskFull { .. } => None,
    }
}

/// Whether it needs to read what connections say.
pub(crate) const fn reads_http(recipe: &Recipe) -> bool {
    matches!(
        recipe,
        Recipe::HttpAbort { .. }
            | Recipe::HttpDelay { .. }
            | Recipe::HttpStatus { .. }
            | Recipe::HttpHeader { .. }
            | Recipe::HttpBody { .. }
    )
}

const fn http(share: f64, effect: HttpEffect) -> Attributes {
    Attributes::Http(Http { share, effect })
}

/// The client is the load, the server is the target.
const fn stream(direction: Direction) -> Stream {
    match direction {
        Direction::Both => Stream::Both,
        Direction::ToTarget => Stream::Upstream,
        Direction::FromTarget => Stream::Downstream,
    }
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_are_seen_from_the_load() {
        let partition = |direction| deed(&Recipe::Partition { direction }).unwrap();
        let nothing = || Attributes::Timeout(Timeout { timeout: 0 });
        assert_eq!(partition(Direction::Both), Deed::Toxic(Stream::Both, nothing()));
        assert_eq!(partition(Direction::ToTarget), Deed::Toxic(Stream::Upstream, nothing()));
        assert_eq!(partition(Direction::FromTarget), Deed::Toxic(Stream::Downstream, nothing()));
    }

    #[test]
    fn a_little_bandwidth_is_not_none() {
        let recipe = Recipe::Bandwidth { bytes_per_second: 10, direction: Direction::Both };
        let expected = Attributes::Bandwidth(Bandwidth { rate: 1 });
        assert_eq!(deed(&recipe), Some(Deed::Toxic(Stream::Both, expected)));
    }
}
