//! Stores behind a shared pointer.

use std::{sync::Arc, time::Duration};

use super::{
    Append, Audit, Begin, Begun, Claim, Entry, Found, Lease, Pending, Pruned, Sealed, Settled,
    StepId, Store, Summary, Ticket, Version, WorkflowId,
};

impl<S: Store + ?Sized> Store for Arc<S> {
    fn acquire<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        owner: &'a Arc<str>,
        ttl: Duration,
    ) -> Pending<'a, Lease> {
        (**self).acquire(workflow, owner, ttl)
    }

    fn renew<'a>(&'a self, lease: &'a Lease, ttl: Duration) -> Pending<'a, Lease> {
        (**self).renew(lease, ttl)
    }

    fn release<'a>(&'a self, lease: &'a Lease) -> Pending<'a, ()> {
        (**self).release(lease)
    }

    fn claim<'a>(
        &'a self,
        namespace: &'a str,
        owner: &'a Arc<str>,
        ttl: Duration,
    ) -> Pending<'a, Option<Lease>> {
        (**self).claim(namespace, owner, ttl)
    }

    fn begin<'a>(&'a self, begin: &'a Begin) -> Pending<'a, Begun> {
        (**self).begin(begin)
    }

    fn complete<'a>(&'a self, ticket: &'a Ticket, entry: Entry) -> Pending<'a, Settled> {
        (**self).complete(ticket, entry)
    }

    fn append(&self, append: Append) -> Pending<'_, Sealed> {
        (**self).append(append)
    }

    fn finish<'a>(&'a self, workflow: &'a WorkflowId, claim: &'a Claim) -> Pending<'a, ()> {
        (**self).finish(workflow, claim)
    }

    fn latest<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        step: Option<&'a StepId>,
    ) -> Pending<'a, Option<Found>> {
        (**self).latest(workflow, step)
    }

    fn get<'a>(&'a self, workflow: &'a WorkflowId, version: u64) -> Pending<'a, Sealed> {
        (**self).get(workflow, version)
    }

    fn history<'a>(
        &'a self,
        workflow: &'a WorkflowId,
        after: u64,
        most: usize,
    ) -> Pending<'a, Vec<Version>> {
        (**self).history(workflow, after, most)
    }

    fn list<'a>(
        &'a self,
        namespace: Option<&'a str>,
        after: Option<&'a WorkflowId>,
        most: usize,
    ) -> Pending<'a, Vec<Summary>> {
        (**self).list(namespace, after, most)
    }

    fn unfinished<'a>(
        &'a self,
        namespace: &'a str,
        after: Option<&'a WorkflowId>,
        most: usize,
    ) -> Pending<'a, Vec<Summary>> {
        (**self).unfinished(namespace, after, most)
    }

    fn summary<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, Option<Summary>> {
        (**self).summary(workflow)
    }

    fn fork<'a>(
        &'a self,
        from: &'a WorkflowId,
        at: u64,
        to: &'a WorkflowId,
    ) -> Pending<'a, Summary> {
        (**self).fork(from, at, to)
    }

    fn delete<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, ()> {
        (**self).delete(workflow)
    }

    fn prune<'a>(&'a self, namespace: Option<&'a str>) -> Pending<'a, Pruned> {
        (**self).prune(namespace)
    }

    fn verify<'a>(&'a self, workflow: &'a WorkflowId) -> Pending<'a, Audit> {
        (**self).verify(workflow)
    }
}
