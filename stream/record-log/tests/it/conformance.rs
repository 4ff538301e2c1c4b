//! The contract of every record log, tested on each of them.

mod publishing;
mod reading;
mod topics;

use record_log::RecordLog;

use self::publishing::*;
use self::reading::*;
use self::topics::*;

/// Makes each check a test of each log.
macro_rules! on_every_log {
    ($($check:ident)*) => {
        on_every_log!(@ simulated $($check)*);
        on_every_log!(@ embedded $($check)*);
        on_every_log!(@ kafka $($check)*);
        on_every_log!(@ native $($check)*);

        /// The checks by their names, for logs that a test opens itself.
        pub const CHECKS: &[(&str, fn(&dyn RecordLog))] = &[$((stringify!($check), $check)),*];
    };
    (@ $subject:ident $($check:ident)*) => {
        mod $subject {
            $(#[test]
            fn $check() {
                if let Some(subject) = crate::subject::$subject() {
                    super::$check(&*subject.log);
                }
            })*
        }
    };
}

on_every_log! {
    records_of_a_partition_are_read_in_the_order_they_were_sent
    a_commit_publishes_to_all_partitions_and_topics_together
    uncommitted_records_of_a_dropped_publisher_are_never_read
    progress_is_read_back_by_the_next_holder
    progress_is_bytes_up_to_a_limit
    publishers_opened_together_have_each_their_own_progress
    a_commit_without_records_still_carries_its_progress
    the_earlier_holder_is_fenced_and_nothing_of_it_is_read
    an_at_least_once_publisher_publishes_and_keeps_its_progress
    the_end_is_the_one_that_the_log_returns
    an_end_is_dated_before_its_request_and_dated_again
    records_after_a_dated_end_were_appended_after_its_date
    a_reader_starts_at_its_offset_and_polls_at_most_the_maximum
    a_position_beyond_the_end_is_out_of_range
    an_unknown_topic_or_partition_is_named
    tombstones_empty_values_and_headers_come_back_as_sent
    a_value_of_900_kib_is_carried
    a_record_larger_than_its_topic_takes_is_refused_by_name
    topics_are_described
    keys_choose_the_partition_that_java_clients_choose
    log_times_are_those_of_the_append
    groups_remember_positions_by_topic_and_partition
    a_waiting_reader_is_woken_by_a_commit
    topics_that_exist_are_left_as_they_are
}
