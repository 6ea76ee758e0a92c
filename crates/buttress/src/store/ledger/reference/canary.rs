//! Decisions with one thing wrong each, which the reference must find.

use std::sync::Arc;

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};

use super::{
    histories,
    machine::{Decide, RETENTION},
    run,
};
use crate::store::{
    Append, Begin, Claim, Digest, Fence, Head, Status, StepId, Term,
    ledger::{self, Slot},
};

/// Four times what the hardest of these takes; the histories are the same every time.
const HISTORIES: usize = 1_000;

fn found(decide: &Decide) -> bool {
    let mut runner = TestRunner::deterministic();
    let histories = histories();
    (0..HISTORIES).any(|_| {
        let history = histories.new_tree(&mut runner).expect("there are histories").current();
        run(&history, decide).is_err()
    })
}

/// A head that believes whoever comes with an epoch.
fn unfenced(head: Option<Head>, epoch: u64) -> Option<Head> {
    head.map(|head| {
        let term = Term { owner: Arc::from("0"), until: 0, boot: 0 };
        Head { epoch, lease: Some(head.lease.clone().unwrap_or(term)), ..head }
    })
}

fn believed(head: Option<Head>, claim: &Claim) -> Option<Head> {
    match claim {
        Claim::Held { epoch } => unfenced(head, *epoch),
        _ => head,
    }
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    assert!(!found(&Decide::default()));
}

#[test]
fn a_fence_that_is_missing_is_found() {
    let fences: [(&str, Decide); 6] = [
        (
            "of begin",
            Decide {
                begin: |head, slot, begin, now, next| {
                    ledger::begin(believed(head, &begin.claim), slot, &begin, now, next)
                },
                ..Decide::default()
            },
        ),
        (
            "of complete",
            Decide {
                complete: |head, slot, (ticket, entry), now, next| {
                    let head = match ticket.fence {
                        Fence::Epoch(epoch) => unfenced(head, epoch),
                        Fence::Born(_) => head,
                    };
                    ledger::complete(head, slot, &ticket, entry, now, next, &RETENTION)
                },
                ..Decide::default()
            },
        ),
        (
            "of complete, by birth",
            Decide {
                complete: |head, slot, (mut ticket, entry), now, next| {
                    if let Fence::Born(_) = ticket.fence {
                        ticket.fence = Fence::Born(None);
                    }
                    ledger::complete(head, slot, &ticket, entry, now, next, &RETENTION)
                },
                ..Decide::default()
            },
        ),
        (
            "of append",
            Decide {
                append: |head, slot, append, now, next| {
                    let head = believed(head, &append.claim);
                    ledger::append(head, slot, append, now, next, &RETENTION)
                },
                ..Decide::default()
            },
        ),
        (
            "of renew",
            Decide {
                renew: |head, lease, ttl, now| {
                    ledger::renew(unfenced(head, lease.epoch), lease, ttl, now)
                },
                ..Decide::default()
            },
        ),
        (
            "of claim",
            Decide {
                claim: |head, _, (owner, ttl), now, next| {
                    let Some(head) = head else {
                        return ledger::claim(None, &owner, ttl, now, next);
                    };
                    let workflow = head.workflow.clone();
                    let taken = ledger::acquire(Some(head), &workflow, &owner, ttl, now, next)?;
                    Ok(ledger::Decided {
                        reply: Some(taken.reply),
                        head: taken.head,
                        record: taken.record,
                        expired: taken.expired,
                    })
                },
                ..Decide::default()
            },
        ),
    ];
    for (fence, decide) in fences {
        assert!(found(&decide), "the fence {fence} is missing, and that was not found");
    }
}

#[test]
fn a_comparison_that_is_missing_is_found() {
    let restart = |head, slot: Slot, mut begin: Begin, now, next| {
        // Whatever is pending is begun again by whoever asks for a restart.
        begin.restart = begin.restart.and(slot.version());
        ledger::begin(head, slot, &begin, now, next)
    };
    assert!(found(&Decide { begin: restart, ..Decide::default() }), "of a restart");
    let append = |head, slot, append: Append, now, next| {
        ledger::append(head, slot, Append { expect: None, ..append }, now, next, &RETENTION)
    };
    assert!(found(&Decide { append, ..Decide::default() }), "of an append");
    let late = Decide {
        complete: |head, slot, (mut ticket, entry), now, next| {
            // Whichever attempt it is, it is the newest.
            ticket.intent = ticket.intent.and(slot.version());
            ledger::complete(head, slot, &ticket, entry, now, next, &RETENTION)
        },
        ..Decide::default()
    };
    assert!(found(&late), "of an attempt");
}

#[test]
fn an_outcome_that_is_forgotten_is_found() {
    let last_wins = Decide {
        complete: |head, slot, (ticket, entry), now, next| {
            let slot = match slot {
                Slot::Intact(record) if record.status == Status::Done => Slot::Empty,
                slot => slot,
            };
            ledger::complete(head, slot, &ticket, entry, now, next, &RETENTION)
        },
        ..Decide::default()
    };
    assert!(found(&last_wins), "the last outcome counts");
    let rotten_is_fresh = Decide {
        begin: |head, slot, begin, now, next| {
            let slot = match slot {
                Slot::Damaged { .. } => Slot::Empty,
                slot => slot,
            };
            ledger::begin(head, slot, &begin, now, next)
        },
        ..Decide::default()
    };
    assert!(found(&rotten_is_fresh), "a damaged outcome is as good as none");
}

#[test]
fn what_is_written_wrongly_is_found() {
    let unchained = Decide {
        append: |head, slot, append, now, next| {
            let head = head.map(|head| Head { digest: Digest::default(), ..head });
            ledger::append(head, slot, append, now, next, &RETENTION)
        },
        ..Decide::default()
    };
    assert!(found(&unchained), "the chain is broken");
    let uncounted = Decide {
        complete: |head, slot, (ticket, entry), now, next| {
            let pending = head.as_ref().map_or(0, |head| head.pending);
            let mut decided = ledger::complete(head, slot, &ticket, entry, now, next, &RETENTION)?;
            decided.head = decided.head.map(|head| Head { pending, ..head });
            Ok(decided)
        },
        ..Decide::default()
    };
    assert!(found(&uncounted), "steps in doubt are miscounted");
    let twice = Decide {
        begin: |head, slot, begin, now, next| {
            let slot = match slot {
                Slot::Damaged { newest, damage } => {
                    Slot::Damaged { newest: ledger::Newest { begun: false, ..newest }, damage }
                }
                slot => slot,
            };
            ledger::begin(head, slot, &begin, now, next)
        },
        ..Decide::default()
    };
    assert!(found(&twice), "an intent that rotted is counted twice");
    let kept = Decide {
        append: |head, slot, append, now, next| {
            let mut decided = ledger::append(head, slot, append, now, next, &RETENTION)?;
            decided.expired.clear();
            Ok(decided)
        },
        ..Decide::default()
    };
    assert!(found(&kept), "nothing is dropped");
    let superseded = Decide {
        append: |head, slot, append, now, next| {
            let floor = head.as_ref().map_or(1, |head| head.floor);
            let mut decided = ledger::append(head, slot, append, now, next, &RETENTION)?;
            decided.expired.retain(|version| *version >= floor);
            Ok(decided)
        },
        ..Decide::default()
    };
    assert!(found(&superseded), "what was followed long after stays for ever");
    let rekeyed = Decide {
        begin: |head, slot, begin, now, next| {
            let mut decided = ledger::begin(head, slot, &begin, now, next)?;
            if let crate::store::Begun::Fresh(ticket) = &mut decided.reply {
                let lineage = Digest::of(&ticket.attempt.to_le_bytes());
                let step: StepId = ticket.step.clone();
                ticket.key = crate::store::IdempotencyKey::new("shop", &lineage, &step);
            }
            Ok(decided)
        },
        ..Decide::default()
    };
    assert!(found(&rekeyed), "the key changes with the attempt");
}
