//! What is kept of a workflow as a whole.

use std::{sync::Arc, time::Duration};

use super::{Damage, Digest, Retention, WorkflowId, seal::Reader};

/// The state of a workflow as a whole: who may write it, and where its history stands.
///
/// For those who write stores; others see a [`Summary`](super::Summary).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The workflow.
    pub workflow: WorkflowId,
    /// The epoch that was next when the workflow came into being: tells it from an earlier one of
    /// the same name.
    pub born: u64,
    /// The epoch of its current or last lease; 0 before the first. Epochs are never handed out twice
    /// by a store, and grow.
    pub epoch: u64,
    /// Where its idempotency keys come from.
    pub lineage: Digest,
    /// Who holds it.
    pub lease: Option<Term>,
    /// The newest version; 0 before the first.
    pub latest: u64,
    /// The digest of the newest version.
    pub digest: Digest,
    /// From here on every version is kept; of the versions before, only the newest of each step.
    pub floor: u64,
    /// Whether it goes on.
    pub life: Life,
    /// How many steps have an intent and no outcome.
    pub pending: u32,
    /// The workflow and version that it was forked from.
    pub forked: Option<(Arc<str>, u64)>,
    /// When it was last written, in milliseconds since 1970.
    pub touched: u64,
}

/// Whether a workflow goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Life {
    /// It goes on.
    Open = 1,
    /// It came to its end; workers leave it alone.
    Finished = 2,
    /// It was deleted: what is left is a stone that keeps late writers from bringing it back.
    Deleted = 3,
}

impl Life {
    /// The word for it in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Finished => "finished",
            Self::Deleted => "deleted",
        }
    }

    /// What [`as_str`](Self::as_str) named.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Open, Self::Finished, Self::Deleted].into_iter().find(|life| life.as_str() == word)
    }
}

/// The time for which somebody holds a workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// Who.
    pub owner: Arc<str>,
    /// Until when, on the clock of the store, in milliseconds.
    pub until: u64,
    /// Which start of the store's clock that was: of an earlier one it is over.
    pub boot: u64,
}

/// What time it is, for a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Which start of the lease clock this is. For a server's clock, which never starts again: 0.
    pub boot: u64,
    /// The lease clock in milliseconds: the server's, or time since the store was opened.
    pub clock: u64,
    /// Milliseconds since 1970: written down, and used for the age of what is pruned.
    pub wall: u64,
}

impl Now {
    pub(super) fn after(self, ttl: Duration) -> u64 {
        self.clock.saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Term {
    /// How long it still lasts, `None` if it is over.
    pub fn left(&self, now: Now) -> Option<Duration> {
        let left = if self.boot == now.boot { self.until.saturating_sub(now.clock) } else { 0 };
        (left > 0).then(|| Duration::from_millis(left))
    }
}

const MAGIC: &[u8; 4] = b"BTRH";
const FORMAT: u8 = 1;

impl Head {
    /// A workflow that nothing was written of.
    ///
    /// `next` is an epoch that was not handed out yet. A workflow that comes into being under a lease
    /// has a lineage of its own; one that is written without always has the same, since its keys must
    /// be known before it is first written.
    pub fn new(workflow: WorkflowId, next: u64, leased: bool) -> Self {
        let of = if leased { next } else { 0 };
        Self {
            lineage: lineage(&workflow, of),
            workflow,
            born: next,
            epoch: 0,
            lease: None,
            latest: 0,
            digest: Digest::default(),
            floor: 1,
            life: Life::Open,
            pending: 0,
            forked: None,
            touched: 0,
        }
    }

    /// Whether nothing would be missed if the workflow were removed altogether.
    pub fn outlived(&self, retention: &Retention, now: Now) -> bool {
        let age = Duration::from_millis(now.wall.saturating_sub(self.touched));
        let held = self.lease.as_ref().is_some_and(|term| term.left(now).is_some());
        let most = match self.life {
            Life::Finished | Life::Deleted => retention.ended,
            Life::Open => retention.open,
        };
        !held && self.pending == 0 && most.is_some_and(|most| age > most)
    }

    /// The stored form: sealed like a record.
    pub fn seal(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(MAGIC);
        let parts = u8::from(self.lease.is_some()) | u8::from(self.forked.is_some()) << 1;
        bytes.extend_from_slice(&[FORMAT, self.life as u8, parts, 0]);
        bytes.extend_from_slice(&self.pending.to_le_bytes());
        for number in [self.born, self.epoch, self.latest, self.floor, self.touched] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.lineage.0);
        bytes.extend_from_slice(&self.digest.0);
        let text = |bytes: &mut Vec<u8>, text: &str| {
            bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        };
        text(&mut bytes, &self.workflow.namespace);
        text(&mut bytes, &self.workflow.workflow);
        if let Some(term) = &self.lease {
            text(&mut bytes, &term.owner);
            bytes.extend_from_slice(&term.until.to_le_bytes());
            bytes.extend_from_slice(&term.boot.to_le_bytes());
        }
        if let Some((workflow, version)) = &self.forked {
            text(&mut bytes, workflow);
            bytes.extend_from_slice(&version.to_le_bytes());
        }
        let digest = Digest::of(&bytes);
        bytes.extend_from_slice(&digest.0);
        bytes
    }

    /// Reads the stored form back, if every bit of it is as it was sealed.
    pub fn open(bytes: &[u8]) -> Result<Self, Damage> {
        let (body, digest) = bytes.split_last_chunk::<32>().ok_or(Damage::Digest)?;
        if Digest::of(body) != Digest(*digest) {
            return Err(Damage::Digest);
        }
        let mut reader = Reader(body);
        if reader.array::<4>()? != *MAGIC {
            return Err(Damage::Misplaced);
        }
        let [format, life, parts, _] = reader.array()?;
        if format != FORMAT {
            return Err(Damage::Format(format));
        }
        let life = match life {
            1 => Life::Open,
            2 => Life::Finished,
            3 => Life::Deleted,
            _ => return Err(Damage::Format(format)),
        };
        let pending = reader.u32()?;
        let [born, epoch, latest, floor, touched] =
            [reader.u64()?, reader.u64()?, reader.u64()?, reader.u64()?, reader.u64()?];
        let lineage = Digest(reader.array()?);
        let digest = Digest(reader.array()?);
        let workflow = WorkflowId::new(reader.text()?, reader.text()?);
        let lease = if parts & 1 == 0 {
            None
        } else {
            let owner = reader.text()?.into();
            Some(Term { owner, until: reader.u64()?, boot: reader.u64()? })
        };
        let forked =
            if parts & 2 == 0 { None } else { Some((reader.text()?.into(), reader.u64()?)) };
        Ok(Self {
            workflow,
            born,
            epoch,
            lineage,
            lease,
            latest,
            digest,
            floor,
            life,
            pending,
            forked,
            touched,
        })
    }
}

/// Where the keys of a workflow come from that came into being at `epoch`, or without a lease (0).
pub(super) fn lineage(workflow: &WorkflowId, epoch: u64) -> Digest {
    Digest::of_parts(&[
        b"buttress lineage 1",
        workflow.namespace.as_bytes(),
        workflow.workflow.as_bytes(),
        &epoch.to_le_bytes(),
    ])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn heads() -> impl Strategy<Value = Head> {
        let digest = || any::<[u8; 32]>().prop_map(Digest);
        let term = (any::<String>(), any::<u64>(), any::<u64>())
            .prop_map(|(owner, until, boot)| Term { owner: owner.into(), until, boot });
        let forked = (any::<String>(), any::<u64>()).prop_map(|(name, at)| (name.into(), at));
        (
            (any::<String>(), any::<String>()),
            any::<[u64; 5]>(),
            (digest(), digest()),
            prop::option::of(term),
            prop_oneof![Just(Life::Open), Just(Life::Finished), Just(Life::Deleted)],
            any::<u32>(),
            prop::option::of(forked),
        )
            .prop_map(
                |(
                    (ns, name),
                    [born, epoch, latest, floor, touched],
                    (lineage, digest),
                    lease,
                    life,
                    pending,
                    forked,
                )| Head {
                    workflow: WorkflowId::new(ns, name),
                    born,
                    epoch,
                    lineage,
                    lease,
                    latest,
                    digest,
                    floor,
                    life,
                    pending,
                    forked,
                    touched,
                },
            )
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_opened(head in heads()) {
            prop_assert_eq!(Head::open(&head.seal()), Ok(head));
        }

        #[test]
        fn no_flipped_bit_passes(head in heads(), place in any::<prop::sample::Index>(), bit in 0..8) {
            let mut bytes = head.seal();
            let place = place.index(bytes.len());
            bytes[place] ^= 1_u8 << bit;
            prop_assert_eq!(Head::open(&bytes), Err(Damage::Digest));
        }
    }

    #[test]
    fn a_term_of_an_earlier_start_is_over() {
        let term = Term { owner: "a".into(), until: 100, boot: 1 };
        let now = Now { boot: 1, clock: 40, wall: 0 };
        assert_eq!(term.left(now), Some(Duration::from_millis(60)));
        assert_eq!(term.left(Now { clock: 100, ..now }), None);
        assert_eq!(term.left(Now { boot: 2, ..now }), None);
    }

    #[test]
    fn only_what_is_old_and_settled_is_outlived() {
        let day = 24 * 3_600_000;
        let now = Now { boot: 0, clock: 5, wall: 1_000 * day };
        let retention = Retention {
            ended: Some(Duration::from_millis(7 * day)),
            open: None,
            ..Retention::default()
        };
        let mut head = Head::new(WorkflowId::new("a", "b"), 1, true);
        head.touched = 990 * day;
        assert!(!head.outlived(&retention, now), "it goes on");
        head.life = Life::Finished;
        assert!(head.outlived(&retention, now));
        head.pending = 1;
        assert!(!head.outlived(&retention, now), "a step is in doubt");
        head.pending = 0;
        head.touched = 993 * day;
        assert!(!head.outlived(&retention, now), "not older than a week");
        head.touched -= 1;
        assert!(head.outlived(&retention, now), "older by the least there is");
        head.life = Life::Deleted;
        assert!(head.outlived(&retention, now), "what is deleted is ended");
        let mut term = Term { owner: "a".into(), until: 6, boot: 0 };
        head.lease = Some(term.clone());
        assert!(!head.outlived(&retention, now), "somebody holds it");
        term.until = 5;
        head.lease = Some(term);
        assert!(head.outlived(&retention, now), "its lease is over");
    }
}
