//! What things in a store are called.

use std::{fmt, str::FromStr, sync::Arc};

use sha2::{Digest as _, Sha256};

/// 32 bytes of SHA-256.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of several parts, each preceded by its length: no two lists of parts run together.
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

impl fmt::Display for Digest {
    /// 64 hexadecimal digits; fewer with a precision, as in `{:.12}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(64).min(64);
        for place in 0..digits {
            let byte = self.0[place / 2];
            let nibble = if place % 2 == 0 { byte >> 4 } else { byte & 15 };
            write!(f, "{nibble:x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:.12}")
    }
}

/// A text that is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotADigest;

impl fmt::Display for NotADigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a digest is written as 64 hexadecimal digits")
    }
}

impl std::error::Error for NotADigest {}

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(NotADigest);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            for digit in pair {
                let digit = char::from(*digit).to_digit(16).ok_or(NotADigest)?;
                *byte = *byte << 4 | digit as u8;
            }
        }
        Ok(Self(bytes))
    }
}

/// A workflow: what belongs together, is resumed together and is fenced together.
///
/// The namespace keeps applications (and tenants) apart that share a store. Both may be any text without
/// NUL characters of up to [`MAX_NAME`](super::MAX_NAME) bytes. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkflowId {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The workflow in it.
    pub workflow: Arc<str>,
}

impl WorkflowId {
    /// A workflow of a namespace.
    pub fn new(namespace: impl Into<Arc<str>>, workflow: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), workflow: workflow.into() }
    }
}

impl fmt::Display for WorkflowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.workflow)
    }
}

impl fmt::Debug for WorkflowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A step of a workflow: a name that stays the same when the program changes, and which time it is done.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepId {
    /// The name, of up to [`MAX_NAME`](super::MAX_NAME) bytes without NUL characters.
    pub name: Arc<str>,
    /// Which time the step of this name is done in the workflow, from 1.
    pub occurrence: u32,
}

impl StepId {
    /// The first occurrence of a step.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), occurrence: 1 }
    }

    /// Another occurrence of the step, in a loop for example.
    #[must_use]
    pub fn occurrence(mut self, occurrence: u32) -> Self {
        self.occurrence = occurrence;
        self
    }
}

impl From<&str> for StepId {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for StepId {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.occurrence {
            1 => f.write_str(&self.name),
            n => write!(f, "{}#{n}", self.name),
        }
    }
}

impl fmt::Debug for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a tool needs to recognise that it was asked before.
///
/// The same for every attempt at a step, in every process that takes the step up; another after a
/// [fork](super::Store::fork). Made of the namespace, the lineage of the workflow and the step, never
/// of an attempt or an epoch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdempotencyKey(pub Digest);

impl IdempotencyKey {
    /// The key of a step.
    pub fn new(namespace: &str, lineage: &Digest, step: &StepId) -> Self {
        Self(Digest::of_parts(&[
            b"buttress idempotency key 1",
            namespace.as_bytes(),
            &lineage.0,
            step.name.as_bytes(),
            &step.occurrence.to_le_bytes(),
        ]))
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_written_and_read() {
        let digest = Digest::of(b"abc");
        let text = digest.to_string();
        assert_eq!(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(text.parse(), Ok(digest));
        assert_eq!(format!("{digest:.7}"), "ba7816b");
        assert_eq!("ba78".parse::<Digest>(), Err(NotADigest));
        assert_eq!("é".repeat(32).parse::<Digest>(), Err(NotADigest));
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(Digest::of_parts(&[b"ab", b"c"]), Digest::of_parts(&[b"a", b"bc"]));
        assert_ne!(Digest::of_parts(&[b"ab"]), Digest::of_parts(&[b"ab", b""]));
    }

    #[test]
    fn the_key_tells_workflows_steps_and_occurrences_apart() {
        let lineage = Digest::of(b"x");
        let key = IdempotencyKey::new("shop", &lineage, &StepId::new("charge"));
        assert_eq!(key, IdempotencyKey::new("shop", &lineage, &"charge".into()));
        for other in [
            IdempotencyKey::new("shop2", &lineage, &"charge".into()),
            IdempotencyKey::new("shop", &Digest::of(b"y"), &"charge".into()),
            IdempotencyKey::new("shop", &lineage, &"refund".into()),
            IdempotencyKey::new("shop", &lineage, &StepId::new("charge").occurrence(2)),
        ] {
            assert_ne!(key, other);
        }
    }
}
