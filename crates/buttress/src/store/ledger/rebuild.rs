//! A head that rotted, put together from what else is kept.

use std::collections::BTreeMap;

use super::{
    super::{Digest, Head, Life, Now, Record, Sealed, StepId},
    Newest,
};

/// The head of a workflow whose own is lost.
///
/// `birth` is a head of the same life, however old: by it the idempotency keys stay what they were.
/// `records` are what is stored, oldest first; `steps` what is kept of each step, `None` where that rotted
/// too; `next` an epoch that was not handed out yet. The workflow goes on, and whoever held it is fenced.
pub fn rebuild(
    birth: Head,
    records: impl IntoIterator<Item = (u64, Vec<u8>)>,
    steps: impl IntoIterator<Item = (StepId, Option<Newest>)>,
    now: Now,
    next: u64,
) -> Head {
    let mut head = Head {
        epoch: next,
        lease: None,
        latest: 0,
        digest: Digest::default(),
        floor: 1,
        life: Life::Open,
        pending: 0,
        touched: now.wall,
        ..birth
    };
    let mut expected = 1;
    let mut newest_of: BTreeMap<StepId, Newest> = BTreeMap::new();
    let mut damaged = 0;
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
                newest_of.insert(record.step.clone(), Newest::of(&record));
            }
            Err(_) => damaged += 1,
        }
    }
    let mut lost = false;
    for (step, newest) in steps {
        let Some(newest) = newest else {
            lost = true;
            continue;
        };
        head.latest = head.latest.max(newest.version);
        // Of what cannot be read it alone says whose it is.
        if newest_of.get(&step).is_none_or(|found| found.version < newest.version) {
            newest_of.insert(step, newest);
        }
    }
    let begun = newest_of.values().filter(|newest| newest.begun).count();
    // If that is not known, each may be an intent: rather one too many than forgotten.
    let doubtful = begun + if lost { damaged } else { 0 };
    head.pending = u32::try_from(doubtful).unwrap_or(u32::MAX);
    head
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            super::{Append, Begin, Begun, Claim, Entry, Payload, Retention, WorkflowId},
            Slot, Written, append, audit, begin, complete,
        },
        *,
    };

    const NOW: Now = Now { boot: 1, clock: 5, wall: 1_000 };

    /// A workflow as a store keeps it.
    struct Kept {
        head: Option<Head>,
        birth: Option<Head>,
        records: BTreeMap<u64, Written>,
        steps: BTreeMap<StepId, Newest>,
    }

    impl Kept {
        fn new() -> Self {
            let mut kept =
                Self { head: None, birth: None, records: BTreeMap::new(), steps: BTreeMap::new() };
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
                let newest = Newest::of(&record.sealed);
                self.steps.insert(record.sealed.step.clone(), newest);
                self.records.insert(newest.version, record);
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

        fn rebuilt(&self) -> Head {
            let records = self.records.iter().map(|(at, kept)| (*at, kept.bytes.clone()));
            let birth = self.birth.clone().expect("it was born");
            let steps = self.steps.iter().map(|(step, newest)| (step.clone(), Some(*newest)));
            rebuild(birth, records, steps, NOW, 9)
        }

        fn rot(&mut self, version: u64) {
            self.records.get_mut(&version).expect("there is one").bytes[40] ^= 1;
        }
    }

    #[test]
    fn it_is_the_head_that_was_lost_but_for_the_lease() {
        let kept = Kept::new();
        let lost = kept.head.clone().expect("there is one");
        assert_eq!(kept.rebuilt(), Head { epoch: 9, lease: None, ..lost });
    }

    #[test]
    fn whoever_held_it_is_fenced_and_the_keys_stay() {
        let mut kept = Kept::new();
        let lost = kept.head.clone().expect("there is one");
        let rebuilt = kept.rebuilt();
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
        kept.rot(5);
        let rebuilt = kept.rebuilt();
        assert_eq!(rebuilt.latest, 5, "a damaged record has its version");
        assert_eq!(rebuilt.digest, kept.records[&4].sealed.digest);
        kept.records.remove(&5);
        assert_eq!(kept.rebuilt().latest, 5, "something points there");
    }

    #[test]
    fn a_damaged_record_is_what_it_was_when_it_was_written() {
        let mut kept = Kept::new();
        kept.rot(5);
        assert_eq!(kept.rebuilt().pending, 1, "`c` was done, and `b` was not");
        kept.rot(3);
        assert_eq!(kept.rebuilt().pending, 1, "the intent of `b`");
        kept.rot(1);
        assert_eq!(kept.rebuilt().pending, 1, "`a` was done since");
        kept.records.clear();
        assert_eq!(kept.rebuilt().pending, 1);
    }

    #[test]
    fn of_what_cannot_be_told_rather_too_much_is_in_doubt() {
        let mut kept = Kept::new();
        kept.rot(3);
        let records = kept.records.iter().map(|(at, kept)| (*at, kept.bytes.clone()));
        let steps = [("a", 2), ("c", 5)]
            .map(|(step, version)| (StepId::new(step), Some(Newest { version, begun: false })));
        let birth = kept.birth.clone().expect("it was born");
        let steps = steps.into_iter().chain([(StepId::new("b"), None)]);
        assert_eq!(rebuild(birth, records, steps, NOW, 9).pending, 1);
    }

    #[test]
    fn the_floor_is_above_the_gaps() {
        let mut kept = Kept::new();
        kept.records.remove(&2);
        assert_eq!(kept.rebuilt().floor, 3);
        kept.records.clear();
        kept.steps.clear();
        let rebuilt = kept.rebuilt();
        assert_eq!((rebuilt.latest, rebuilt.floor, rebuilt.digest), (0, 1, Digest::default()));
    }
}
