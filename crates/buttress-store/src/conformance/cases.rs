//! The list of all cases, and what is made of it.

use super::{
    Case, Subject, damage, dropped, fence, fork, head, lease, life, list, names, race, restart,
    retention, state, step,
};

/// Makes each case a test: give it the attributes of a test and an expression for the subject.
///
/// ```
/// # use std::{error::Error, time::Duration};
/// # use buttress::store::{Retention, WorkflowId};
/// use buttress_store::{RedbStore, conformance::{Change, Subject}, redb::Options};
///
/// struct InAFile;
///
/// impl Subject for InAFile {
///     type Store = RedbStore;
///     type Home = tempfile::TempDir;
///     // ..
/// #     async fn home(&self) -> Result<Self::Home, Box<dyn Error + Send + Sync>> {
/// #         Ok(tempfile::tempdir()?)
/// #     }
/// #     async fn open(&self, home: &Self::Home, retention: Retention) -> Result<RedbStore, Box<dyn Error + Send + Sync>> {
/// #         Ok(Options::new().retention(retention).open(home.path().join("store.redb"))?)
/// #     }
/// #     async fn tamper(&self, _: &Self::Home, store: &RedbStore, workflow: &WorkflowId, version: u64, change: Change<'_>) -> bool {
/// #         store.replace(workflow, version, |bytes| change(&bytes)).await.unwrap_or(false)
/// #     }
/// #     async fn pass(&self, time: Duration) {
/// #         tokio::time::sleep(time).await;
/// #     }
/// }
///
/// buttress_store::conformance_tests! { #[tokio::test] super::InAFile }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! conformance_tests {
    ($(#[$attribute:meta])+ $subject:expr) => {
        $crate::__conformance_cases! { __conformance_tests [$(#[$attribute])+] [$subject] }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    ($attributes:tt $subject:tt $($room:ident { $($name:ident)+ })+) => {
        $($($crate::__conformance_test! { $attributes $subject $name })+)+
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_test {
    ([$(#[$attribute:meta])+] [$subject:expr] $name:ident) => {
        $(#[$attribute])+
        async fn $name() -> $crate::conformance::Outcome {
            $crate::conformance::check(&$subject, stringify!($name)).await
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_list {
    ($($room:ident { $($name:ident)+ })+) => {
        /// All cases.
        pub fn cases<S: Subject>() -> Vec<Case<S>> {
            vec![$($(Case { name: stringify!($name), run: |subject| Box::pin($room::$name(subject)) }),+),+]
        }
    };
}

// The one list of all cases: given to `$then`, after what else it is to be given.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_cases {
    ($then:ident $($arguments:tt)*) => {
        $crate::$then! {
            $($arguments)*
            step {
                a_step_is_begun_done_and_answered
                a_step_without_an_effect_is_one_write
                a_failure_is_answered_as_one
                another_request_is_a_mismatch
                the_first_outcome_counts
                a_begun_step_is_pending
                a_restart_is_a_compare_and_set
                an_effect_that_is_no_more_needs_no_restart
                a_withdrawn_step_is_fresh
                steps_and_occurrences_are_apart
                an_outcome_says_how_it_ended
                a_workflow_ends_with_an_outcome
            }
            lease {
                a_lease_is_exclusive
                an_owner_takes_its_lease_again
                a_lease_that_is_over_is_taken_with_a_greater_epoch
                a_lease_lasts_as_long_as_it_was_renewed_for
                a_lease_given_back_is_free
                epochs_are_never_handed_out_twice
                workers_claim_what_is_open_and_free
                what_ran_out_is_taken_over_even_by_its_owner
                workers_claim_what_waited_longest
                one_without_a_lease_takes_none_away
                a_lease_is_not_of_another_workflow
            }
            fence {
                nothing_is_written_after_a_takeover
                nothing_is_written_after_a_takeover_by_any_write
                nothing_is_written_after_a_release
                nothing_is_written_after_the_end
                nothing_is_written_after_a_deletion
                a_deleted_step_in_doubt_stays_deleted
            }
            state {
                each_save_is_a_version
                a_stale_save_is_refused
                a_save_may_be_the_last
                payloads_of_every_size_are_kept
                a_payload_that_is_too_large_is_refused
            }
            list {
                of_nothing_there_is_nothing
                a_history_is_read_in_pages
                the_newest_is_that_of_the_step_or_of_all
                workflows_are_listed_in_pages
                what_goes_on_is_listed_by_itself
                a_summary_says_how_things_stand
            }
            retention {
                the_newest_versions_are_kept
                a_single_version_may_be_kept
                what_was_done_is_never_forgotten
                what_was_followed_long_after_is_dropped
                a_shorter_retention_holds_from_the_next_write
            }
            life {
                what_is_deleted_is_gone
                what_ended_long_ago_is_pruned
                what_nobody_goes_on_with_is_pruned
                nothing_is_pruned_before_its_time
                a_name_is_new_once_it_is_pruned
            }
            fork {
                a_copy_has_what_was_done_and_keys_of_its_own
                two_copies_have_different_keys
                a_copy_is_of_something_to_something_new
                a_copy_without_what_was_dropped_is_refused
                a_copy_of_a_damaged_version_is_refused
            }
            damage {
                no_flipped_bit_is_served
                what_is_damaged_is_skipped_and_told
                what_is_lost_is_told
                each_kind_of_damage_is_found
                exchanged_versions_are_found
                a_newest_version_put_back_is_found
                a_damaged_outcome_is_in_doubt
                a_damaged_outcome_without_effect_is_done_again
                an_intent_that_rots_does_not_hold_up_its_outcome
                what_rots_is_counted_for_what_it_was
            }
            head {
                a_head_that_rots_is_put_together
                a_head_that_rots_lets_nobody_go_on_who_held_it
                a_head_that_rots_hides_neither_its_records_nor_others
                a_workflow_whose_head_rotted_is_claimed
            }
            names {
                unusual_names_are_names
                the_longest_names_are_taken
                names_that_no_store_can_take_are_refused
            }
            race {
                one_of_many_takes_the_lease
                one_of_many_begins_a_step
                one_of_many_restarts_a_step
                one_outcome_of_many_counts
                one_save_of_many_follows
                no_save_of_many_is_lost
                many_workflows_go_on_at_once
                workers_share_out_the_work
                a_deletion_is_final_for_all
                one_copy_of_many_comes_into_being
            }
            dropped {
                a_dropped_beginning_is_done_or_not_done
                a_dropped_outcome_is_written_once_or_never
                a_dropped_save_leaves_no_gap
                a_dropped_takeover_leaves_one_owner
                a_dropped_end_is_whole
            }
            restart {
                what_was_acknowledged_is_there_after_a_restart
                what_was_begun_is_in_doubt_after_a_restart
                a_lease_does_not_come_back_after_a_restart
            }
        }
    };
}

__conformance_cases! { __conformance_list }
