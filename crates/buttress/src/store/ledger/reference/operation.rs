//! What may happen, and how often.

use proptest::{prelude::*, sample::Index};

use super::{FLOWS, OWNERS, STEPS};

#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    Shared,
    Take {
        owner: usize,
        ttl: u64,
    },
    /// By any lease that was ever told to anybody, of whatever workflow.
    Held(Index),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Expect {
    Nothing,
    Newest,
    Version(u64),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    Done,
    Failed,
    Withdrawn,
    DoneAndEnd,
}

#[derive(Clone, Debug)]
pub(super) enum Operation {
    Acquire {
        flow: usize,
        owner: usize,
        ttl: u64,
    },
    Renew {
        lease: Index,
        ttl: u64,
    },
    Release {
        lease: Index,
    },
    Claim {
        owner: usize,
        ttl: u64,
    },
    Begin {
        flow: usize,
        step: usize,
        request: u8,
        by: By,
        intent: bool,
        restart: Expect,
    },
    Complete {
        ticket: Index,
        outcome: Outcome,
    },
    Append {
        flow: usize,
        step: usize,
        by: By,
        expect: Expect,
    },
    Finish {
        flow: usize,
        by: By,
    },
    Delete {
        flow: usize,
    },
    Prune,
    /// To the last flow, which is forgotten before, as if it were pruned, or not.
    Fork {
        from: usize,
        at: Index,
        forget: bool,
    },
    Pass(u64),
    Crash,
    Rot {
        flow: usize,
        version: Index,
        lose: bool,
    },
}

fn operations() -> impl Strategy<Value = Operation> {
    let flow = prop_oneof![5 => Just(0), 4 => Just(1), 2 => Just(FLOWS - 1)];
    let ttl = || prop_oneof![1 => 0_u64..3, 4 => 10_u64..80];
    let by = || {
        prop_oneof![
            2 => Just(By::Shared),
            4 => (0..OWNERS, ttl()).prop_map(|(owner, ttl)| By::Take { owner, ttl }),
            3 => any::<Index>().prop_map(By::Held),
        ]
    };
    let step = || prop_oneof![8 => 0..STEPS - 1, 1 => Just(STEPS - 1)];
    let state = || prop_oneof![12 => Just(STEPS - 1), 1 => 0..STEPS - 1];
    let pick = any::<Index>;
    let expect = || {
        prop_oneof![
            5 => Just(Expect::Nothing),
            3 => Just(Expect::Newest),
            1 => (0..9_u64).prop_map(Expect::Version),
        ]
    };
    let outcome = prop_oneof![
        6 => Just(Outcome::Done),
        2 => Just(Outcome::Failed),
        2 => Just(Outcome::Withdrawn),
        1 => Just(Outcome::DoneAndEnd),
    ];
    prop_oneof![
        6 => (flow.clone(), 0..OWNERS, ttl())
            .prop_map(|(flow, owner, ttl)| Operation::Acquire { flow, owner, ttl }),
        4 => (pick(), ttl()).prop_map(|(lease, ttl)| Operation::Renew { lease, ttl }),
        2 => pick().prop_map(|lease| Operation::Release { lease }),
        4 => (0..OWNERS, ttl()).prop_map(|(owner, ttl)| Operation::Claim { owner, ttl }),
        26 => (flow.clone(), step(), 0..16_u8, by(), prop::bool::weighted(0.7), expect()).prop_map(
            |(flow, step, request, by, intent, restart)| {
                // Nearly always the same.
                let request = request / 15;
                Operation::Begin { flow, step, request, by, intent, restart }
            }
        ),
        20 => (pick(), outcome)
            .prop_map(|(ticket, outcome)| Operation::Complete { ticket, outcome }),
        16 => (flow.clone(), state(), by(), expect())
            .prop_map(|(flow, step, by, expect)| Operation::Append { flow, step, by, expect }),
        2 => (flow.clone(), by()).prop_map(|(flow, by)| Operation::Finish { flow, by }),
        1 => flow.clone().prop_map(|flow| Operation::Delete { flow }),
        3 => Just(Operation::Prune),
        5 => (0..FLOWS - 1, pick(), prop::bool::weighted(0.8))
            .prop_map(|(from, at, forget)| Operation::Fork { from, at, forget }),
        12 => (1..90_u64).prop_map(Operation::Pass),
        2 => Just(Operation::Crash),
        3 => (flow, pick(), any::<bool>())
            .prop_map(|(flow, version, lose)| Operation::Rot { flow, version, lose }),
    ]
}

pub(super) fn histories() -> impl Strategy<Value = Vec<Operation>> {
    prop::collection::vec(operations(), 1..60)
}
