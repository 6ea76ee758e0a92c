//! What stands between a caller and a store.

use buttress::store::{Append, Pending, Sealed, Store};

/// A store that does something around each operation of another.
///
/// `through!(Type)` then makes a [`Store`] of it.
pub(crate) trait Through {
    type Inner: Store;

    /// Does one operation, told by its name, with the store behind.
    fn through<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        act: impl FnOnce(&'a Self::Inner) -> Pending<'a, T> + Send + 'a,
    ) -> Pending<'a, T>;

    /// The one operation that owns what it works on, and so may outlive whoever asked for it.
    fn through_append(&self, append: Append) -> Pending<'_, Sealed> {
        self.through("append", move |store| store.append(append))
    }
}

macro_rules! through {
    ($store:ty) => {
        $crate::support::through::through! { $store:
            fn acquire(workflow: &'a WorkflowId, owner: &'a Arc<str>, ttl: Duration) -> Lease;
            fn renew(lease: &'a Lease, ttl: Duration) -> Lease;
            fn release(lease: &'a Lease) -> ();
            fn claim(namespace: &'a str, owner: &'a Arc<str>, ttl: Duration) -> Option<Lease>;
            fn begin(begin: &'a Begin) -> Begun;
            fn complete(ticket: &'a Ticket, entry: Entry) -> Settled;
            fn finish(workflow: &'a WorkflowId, claim: &'a Claim) -> ();
            fn latest(workflow: &'a WorkflowId, step: Option<&'a StepId>) -> Option<Found>;
            fn get(workflow: &'a WorkflowId, version: u64) -> Sealed;
            fn history(workflow: &'a WorkflowId, after: u64, most: usize) -> Vec<Version>;
            fn list(namespace: Option<&'a str>, after: Option<&'a WorkflowId>, most: usize) -> Vec<Summary>;
            fn unfinished(namespace: &'a str, after: Option<&'a WorkflowId>, most: usize) -> Vec<Summary>;
            fn summary(workflow: &'a WorkflowId) -> Option<Summary>;
            fn fork(from: &'a WorkflowId, at: u64, to: &'a WorkflowId) -> Summary;
            fn delete(workflow: &'a WorkflowId) -> ();
            fn prune(namespace: Option<&'a str>) -> Pruned;
            fn verify(workflow: &'a WorkflowId) -> Audit;
        }
    };
    ($store:ty: $(fn $name:ident($($arg:ident: $ty:ty),*) -> $out:ty;)+) => {
        const _: () = {
            use std::{sync::Arc, time::Duration};

            use buttress::store::{
                Append, Audit, Begin, Begun, Claim, Entry, Found, Lease, Pending, Pruned, Sealed,
                Settled, StepId, Store, Summary, Ticket, Version, WorkflowId,
            };
            use $crate::support::through::Through as _;

            impl Store for $store {
                $(fn $name<'a>(&'a self, $($arg: $ty),*) -> Pending<'a, $out> {
                    self.through(stringify!($name), move |store| store.$name($($arg),*))
                })+

                fn append(&self, append: Append) -> Pending<'_, Sealed> {
                    self.through_append(append)
                }
            }
        };
    };
}
pub(crate) use through;
