//! What every transport promises. Each function takes a bus of its own; [`contract_tests`] makes tests of all of them for
//! one transport, given how to set one up.

use std::time::Duration;

use bus::Bus;
use store::RecordKey;

mod broadcasts;
mod commands;
mod objects;
mod records;

pub(crate) use {broadcasts::*, commands::*, objects::*, records::*};

/// Makes the tests: `contract_tests!(setup)`, where `setup().await` gives a [`Setup`] and what must live as long as it.
macro_rules! contract_tests {
    ($setup:path) => {
        $crate::contract::contract_tests! { $setup;
            a_broadcast_reaches_all_who_listen_in_order,
            nobody_listening_is_no_error,
            a_subscriber_hears_only_what_it_asked_for,
            a_slow_subscriber_loses_messages_and_knows_how_many,
            a_message_that_is_too_large_is_refused,
            subscriptions_end_with_the_bus,
            a_command_is_answered_or_refused,
            servers_of_one_address_take_turns,
            an_instance_gets_its_own_commands_only,
            a_command_waits_for_a_server_to_appear,
            a_command_without_an_answer_ends_at_its_deadline,
            a_server_that_went_away_gets_no_commands,
            commands_of_one_caller_arrive_in_order,
            records_of_each_producer_arrive_in_its_order,
            each_consumer_gets_every_record,
            streams_of_one_consumer_share_its_records,
            streams_begun_at_once_leave_no_record_behind,
            records_that_are_here_come_together,
            a_record_with_the_same_key_is_appended_once,
            a_record_not_acknowledged_comes_again,
            a_consumer_that_starts_anew_goes_on_where_it_acknowledged,
            acknowledging_out_of_order_loses_nothing,
            a_consumer_that_starts_late_gets_what_is_kept,
            a_full_log_refuses_until_its_consumer_acknowledges,
            an_object_comes_back_under_its_digest,
            an_object_that_was_never_put_is_named,
            what_is_no_digest_is_refused,
        }
    };
    ($setup:path; $($name:ident),+ $(,)?) => {$(
        #[tokio::test]
        async fn $name() {
            let (setup, _alive) = $setup().await;
            $crate::contract::$name(setup).await;
        }
    )+};
}
pub(crate) use contract_tests;

/// The limit of logs that [`a_full_log_refuses_until_its_consumer_acknowledges`] runs into.
pub(crate) const MAX_LOG: u64 = 200_000;

/// A bus under test.
pub(crate) struct Setup {
    /// The bus.
    pub(crate) bus: Bus,
    /// Another one over the same store, objects and servers, as after a restart of the process.
    pub(crate) again: Box<dyn Fn() -> Bus + Send>,
}

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(20);
/// Long enough to see that nothing comes; a test that passes by it for a wrong reason passes rarely.
const SHORT: Duration = Duration::from_millis(50);

fn key(producer: u8, sequence: u64) -> RecordKey {
    RecordKey { producer: [producer; 16], incarnation: [0; 16], sequence, part: 0 }
}

/// What comes of a future, which must come soon.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.expect("within the deadline")
}

/// That nothing comes of a future.
async fn nothing<T>(future: impl Future<Output = T>) {
    assert!(tokio::time::timeout(SHORT, future).await.is_err(), "something came");
}
