//! A head that rotted, put together from what else is kept.

use std::collections::BTreeMap;

use super::super::{Digest, Head, Life, Now, Record, Sealed, Status, StepId};

/// The head of a workflow whose own is lost.
///
/// `birth` is a head of the same life, however old: by it the idempotency keys stay what they were.
/// `records` are what is stored, oldest first; `newest` the highest version that anything points to,
/// stored or not; `next` an epoch that was not handed out yet. The workflow goes on, whoever held it is
/// fenced, and a damaged record counts as a step in doubt.
pub fn rebuild(
    birth: Head,
    records: impl IntoIterator<Item = (u64, Vec<u8>)>,
    newest: u64,
    now: Now,
    next: u64,
) -> Head {
    let mut head = Head {
        epoch: next,
        lease: None,
        latest: newest,
        digest: Digest::default(),
        floor: 1,
        life: Life::Open,
        pending: 0,
        touched: now.wall,
        ..birth
    };
    let mut expected = 1;
    let mut newest_of: BTreeMap<StepId, Status> = BTreeMap::new();
    for (version, bytes) in records {
        // Gaps are below the floor, as far as anybody can tell now.
        if version != expected {
            head.floor = version;
        }
        expected = version.saturating_add(1);
        head.latest = head.latest.max(version);
        match Record::open_at(&bytes, &head.workflow, version) {
            Ok(Sealed { record, digest }) => {
                head.digest = digest;
                newest_of.insert(record.step, record.status);
            }
            Err(_) => head.pending = head.pending.saturating_add(1),
        }
    }
    let begun = newest_of.values().filter(|status| **status == Status::Intent).count();
    head.pending = head.pending.saturating_add(u32::try_from(begun).unwrap_or(u32::MAX));
    head
}

#[cfg(test)]
mod tests {
    use super::{
        super::super::{Append, Begin, Begun, Claim, Entry, Payload, Retention, WorkflowId},
        super::{Slot, Written, append, audit, begin, complete},
        *,
    };

    const NOW: Now = Now { boot: 1, clock: 5, wall: 1_000 };

    /// A workflow as a store keeps it.
    struct Kept {
        head: Option<Head>,
        birth: Option<Head>,
        records: BTreeMap<u64, Written>,
    }

    impl Kept {
        fn new() -> Self {
            let mut kept = Self { head: None, birth: None, records: BTreeMap::new() };
            for step in ["a", "b", "c"] {
                kept.act(step, step != "b");
            }
            kept
        }

        fn slot(&self, step: &StepId) -> Slot {
            let newest = self.records.values().rev().find(|kept| kept.sealed.step == *step);
            newest.map_or(Slot::Empty, |kept| Slot::Intact(kept.sealed.clone()))
        }

        fn put(&mut self, head: Option<Head>, record: Option<Written>) {
            self.birth = self.birth.take().or_else(|| head.clone());
            self.head = head;
            if let Some(record) = record {
                self.records.insert(record.sealed.version, record);
            }
        }

        fn act(&mut self, step: &str, to_the_end: bool) {
            let step = StepId::new(step);
            let asked = Begin {
                workflow: WorkflowId::new("shop", "1"),
                step: step.clone(),
                fingerprint: Digest::of(b"request"),
                claim: Claim::Take { owner: "me".into(), ttl: std::time::Duration::from_secs(1) },
                intent: true,
                restart: None,
                mark: None,
            };
            let decided = begin(self.head.clone(), self.slot(&step), &asked, NOW, 7)
                .expect("nobody else is there");
            self.put(decided.head, decided.record);
            let Begun::Fresh(ticket) = decided.reply else { panic!("{step} is new") };
            if to_the_end {
                let (entry, keep) = (Entry::done(Payload::default()), Retention::default());
                let slot = self.slot(&step);
                let decided = complete(self.head.clone(), slot, &ticket, entry, NOW, 7, &keep)
                    .expect("the lease holds");
                self.put(decided.head, decided.record);
            }
        }

        fn rebuilt(&self, newest: u64) -> Head {
            let records = self.records.iter().map(|(at, kept)| (*at, kept.bytes.clone()));
            let birth = self.birth.clone().expect("it was born");
            rebuild(birth, records, newest, NOW, 9)
        }
    }

    #[test]
    fn it_is_the_head_that_was_lost_but_for_the_lease() {
        let kept = Kept::new();
        let lost = kept.head.clone().expect("there is one");
        assert_eq!(kept.rebuilt(0), Head { epoch: 9, lease: None, ..lost });
    }

    #[test]
    fn whoever_held_it_is_fenced_and_the_keys_stay() {
        let mut kept = Kept::new();
        let lost = kept.head.clone().expect("there is one");
        let rebuilt = kept.rebuilt(0);
        assert_eq!((rebuilt.lineage, rebuilt.born), (lost.lineage, lost.born));
        let state = |epoch| Append {
            workflow: rebuilt.workflow.clone(),
            step: "state".into(),
            claim: Claim::Held { epoch },
            expect: None,
            parent: None,
            fingerprint: Digest::default(),
            entry: Entry::state(Payload::default()),
        };
        let keep = Retention::default();
        let late = append(Some(rebuilt.clone()), Slot::Empty, state(lost.epoch), NOW, 10, &keep);
        assert!(late.is_err(), "{late:?}");
        // And the history goes on without a break.
        kept.head = Some(rebuilt);
        kept.act("d", true);
        let records = kept.records.iter().map(|(at, kept)| (*at, kept.bytes.clone()));
        let steps = ["a", "b", "c", "d"].map(|step| {
            (StepId::new(step), kept.slot(&step.into()).version().expect("there is one"))
        });
        let head = kept.head.clone().expect("there is one");
        assert_eq!(audit(&head, records, steps).findings, []);
    }

    #[test]
    fn no_version_is_handed_out_twice() {
        let mut kept = Kept::new();
        assert_eq!(kept.rebuilt(8).latest, 8, "something points there");
        let last = kept.records.last_entry().expect("there is one").into_mut();
        last.bytes[40] ^= 1;
        let rebuilt = kept.rebuilt(0);
        assert_eq!(rebuilt.latest, 5, "a damaged record has its version");
        assert_eq!(rebuilt.digest, kept.records[&4].sealed.digest);
        assert_eq!(rebuilt.pending, 3, "`b`, and of `c` the intent and what is damaged");
    }

    #[test]
    fn the_floor_is_above_the_gaps() {
        let mut kept = Kept::new();
        kept.records.remove(&2);
        assert_eq!(kept.rebuilt(0).floor, 3);
        kept.records.clear();
        let rebuilt = kept.rebuilt(0);
        assert_eq!((rebuilt.latest, rebuilt.floor, rebuilt.digest), (0, 1, Digest::default()));
    }
}
