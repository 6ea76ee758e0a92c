//! What the random histories do not tell apart.

use std::{collections::BTreeMap, time::Duration};

use super::*;
use crate::store::{Append, Begin, Begun, Claim, Damage, Finding, Payload, Retention, Ticket};

const NOW: Now = Now { boot: 1, clock: 5, wall: 1_000 };
const NEXT: u64 = 7;

/// A workflow as a store keeps it.
struct Kept {
    head: Option<Head>,
    records: BTreeMap<u64, Written>,
    retention: Retention,
}

impl Kept {
    fn of(versions: u64) -> Self {
        let versions = versions.try_into().expect("some are kept");
        let retention = Retention { versions, ..Retention::default() };
        Self { head: None, records: BTreeMap::new(), retention }
    }

    fn slot(&self, step: &str) -> Slot {
        let newest = self.records.values().rev().find(|kept| *kept.sealed.step.name == *step);
        newest.map_or(Slot::Empty, |kept| Slot::Intact(kept.sealed.clone()))
    }

    fn keep<T>(&mut self, decided: Decided<T>) -> T {
        self.head = decided.head.or(self.head.take());
        if let Some(record) = decided.record {
            self.records.insert(record.sealed.version, record);
        }
        for version in decided.expired {
            let of = self.records.get(&version).map(|kept| kept.sealed.step.name.clone());
            let newest = of.and_then(|of| self.slot(&of).version());
            self.records.retain(|at, kept| {
                *at != version || !expires(&kept.sealed, newest, &self.retention)
            });
        }
        decided.reply
    }

    fn begin(&mut self, step: &str) -> Ticket {
        let asked = Begin {
            workflow: WorkflowId::new("shop", "1"),
            step: step.into(),
            fingerprint: Digest::of(b"request"),
            claim: Claim::Take { owner: "me".into(), ttl: Duration::from_secs(1) },
            intent: true,
            restart: None,
            mark: None,
        };
        let decided = begin(self.head.clone(), self.slot(step), &asked, NOW, NEXT);
        match self.keep(decided.expect("nobody else is there")) {
            Begun::Fresh(ticket) => ticket,
            other => panic!("{step} is {other:?}"),
        }
    }

    fn complete(&mut self, slot: Slot, ticket: &Ticket) {
        let entry = Entry::done(Payload::default());
        let decided = complete(self.head.clone(), slot, ticket, entry, NOW, NEXT, &self.retention);
        assert!(self.keep(decided.expect("the lease holds")).ours);
    }

    fn save(&mut self, step: &str) {
        let asked = Append {
            workflow: WorkflowId::new("shop", "1"),
            step: step.into(),
            claim: Claim::Shared,
            expect: None,
            parent: None,
            fingerprint: Digest::default(),
            entry: Entry::state(Payload::default()),
        };
        let decided = append(self.head.clone(), self.slot(step), asked, NOW, NEXT, &self.retention);
        self.keep(decided.expect("anybody may"));
    }

    fn head(&self) -> &Head {
        self.head.as_ref().expect("it was written")
    }

    fn audit(&self, steps: &[(&str, u64)]) -> Vec<Finding> {
        let records = self.records.iter().map(|(at, kept)| (*at, kept.bytes.clone()));
        let steps = steps.iter().map(|(step, at)| (StepId::new(*step), *at));
        audit(self.head(), records, steps).findings
    }
}

#[test]
fn a_step_whose_intent_rots_is_in_doubt_no_longer_once_it_is_done() {
    let mut kept = Kept::of(9);
    let ticket = kept.begin("pay");
    kept.begin("send");
    assert_eq!(kept.head().pending, 2);
    let newest = Newest { version: 1, begun: true };
    kept.complete(Slot::Damaged { newest, damage: Damage::Digest }, &ticket);
    assert_eq!(kept.head().pending, 1);
}

#[test]
fn a_step_that_came_later_does_not_stand_in_the_way_of_a_copy() {
    let mut kept = Kept::of(2);
    let first = kept.begin("pay"); // 1
    kept.complete(kept.slot("pay"), &first); // 2
    let later = kept.begin("send"); // 3
    kept.complete(kept.slot("send"), &later); // 4
    assert_eq!(kept.records.keys().copied().collect::<Vec<_>>(), [2, 3, 4]);
    let copy = |kept: &Kept, at| {
        let to = WorkflowId::new("shop", "2");
        let records = kept.records.values().map(|kept| kept.sealed.clone());
        fork(None, kept.head(), at, &to, records, NOW, NEXT + 1).map(|(_, copied)| copied.len())
    };
    // Of a step there was nothing but an intent before its outcome.
    assert_eq!(copy(&kept, 2), Ok(1));
    kept.save("state"); // 5
    // What was dropped may have been an older version of it.
    let refused = copy(&kept, 4);
    assert!(matches!(refused, Err(StoreError::NotFound { version: Some(4), .. })), "{refused:?}");
}

#[test]
fn a_step_that_points_elsewhere_is_found() {
    let mut kept = Kept::of(9);
    for step in ["a", "b", "a"] {
        kept.save(step);
    }
    let misplaced = |version| Finding { version, damage: Damage::Misplaced };
    let missing = |version| Finding { version, damage: Damage::Missing };
    assert_eq!(kept.audit(&[("a", 3), ("b", 2)]), []);
    assert_eq!(kept.audit(&[("a", 1), ("b", 2)]), [misplaced(3)], "to an older one");
    assert_eq!(kept.audit(&[("b", 2)]), [misplaced(1), misplaced(3)], "to nothing");
    assert_eq!(kept.audit(&[("a", 3), ("b", 3)]), [misplaced(3)], "to another's");
    assert_eq!(kept.audit(&[("a", 3), ("b", 2), ("c", 9)]), [missing(9)], "to what is not there");
}

#[test]
fn a_newest_version_that_is_not_what_was_written_is_found() {
    let mut kept = Kept::of(9);
    kept.save("a");
    kept.save("a");
    let record = kept.records.get_mut(&2).expect("there is one");
    record.sealed.record.created += 1;
    record.bytes = record.sealed.record.seal().0;
    let found = Finding { version: 2, damage: Damage::Chain };
    assert_eq!(kept.audit(&[("a", 2)]), [found]);
}

#[test]
fn what_is_newer_than_the_newest_is_found() {
    let mut kept = Kept::of(9);
    kept.save("a");
    let mut record = kept.records[&1].clone();
    record.sealed.record.version = u64::MAX;
    record.bytes = record.sealed.record.seal().0;
    kept.records.insert(u64::MAX, record);
    // At once, however far away it is.
    let found = Finding { version: u64::MAX, damage: Damage::Misplaced };
    assert_eq!(kept.audit(&[("a", 1)]), [found]);
}
