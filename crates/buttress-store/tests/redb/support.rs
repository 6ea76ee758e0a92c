//! Small words for tests of stores.

use std::{cell::Cell, sync::Arc, time::Duration};

use buttress::store::{
    Begin, Begun, Claim, Digest, Entry, Payload, Sealed, Settled, StepId, Store, StoreError,
    Ticket, WorkflowId,
};
use buttress_store::RedbStore;

pub(crate) const TTL: Duration = Duration::from_secs(30);

pub(crate) fn id(name: &str) -> WorkflowId {
    WorkflowId::new("test", name)
}

pub(crate) fn payload(text: &str) -> Payload {
    Payload { codec: Payload::BYTES, schema: 1, bytes: text.as_bytes().to_vec() }
}

pub(crate) fn take(owner: &str) -> Claim {
    Claim::Take { owner: owner.into(), ttl: TTL }
}

pub(crate) fn begin(workflow: &WorkflowId, step: &str, claim: Claim, intent: bool) -> Begin {
    Begin {
        workflow: workflow.clone(),
        step: StepId::new(step),
        fingerprint: Digest::of(step.as_bytes()),
        claim,
        intent,
        restart: None,
        mark: None,
    }
}

pub(crate) async fn ticket(store: &RedbStore, begin: &Begin) -> Ticket {
    match store.begin(begin).await {
        Ok(Begun::Fresh(ticket)) => ticket,
        other => panic!("{other:?} is not fresh"),
    }
}

/// Does a step with an effect.
pub(crate) async fn effect(
    store: &RedbStore,
    workflow: &WorkflowId,
    step: &str,
    result: &str,
) -> Result<Settled, StoreError> {
    let begin = begin(workflow, step, take("me"), true);
    let Begun::Fresh(ticket) = store.begin(&begin).await? else { panic!("{step} is not fresh") };
    store.complete(&ticket, Entry::done(payload(result))).await
}

/// The recorded result of a step.
pub(crate) async fn result(store: &RedbStore, workflow: &WorkflowId, step: &str) -> Option<Sealed> {
    match store.begin(&begin(workflow, step, Claim::Shared, false)).await {
        Ok(Begun::Completed { record }) => Some(record),
        Ok(_) => None,
        Err(error) => panic!("{error}"),
    }
}

pub(crate) fn owner(name: &str) -> Arc<str> {
    name.into()
}

/// Numbers that a seed repeats (SplitMix64).
#[derive(Debug)]
pub(crate) struct Dice(Cell<u64>);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    pub(crate) fn word(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&self, most: u64) -> u64 {
        self.word() % most
    }

    pub(crate) fn unit(&self) -> f64 {
        (self.word() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
