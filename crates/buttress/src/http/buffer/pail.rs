//! What has been read of a body: bytes up to a limit.

use std::mem;

use bytes::{Bytes, BytesMut};

/// Collects chunks; the first is kept as it is, so that bodies of one chunk are never copied.
#[derive(Debug)]
pub(super) struct Pail {
    limit: usize,
    first: Bytes,
    joined: BytesMut,
}

impl Pail {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, first: Bytes::new(), joined: BytesMut::new() }
    }

    pub(super) fn len(&self) -> usize {
        // Only one of the two is ever filled.
        self.first.len() + self.joined.len()
    }

    /// Whether so many bytes more would be too many.
    pub(super) fn would_overflow(&self, more: u64) -> bool {
        // Never more than the limit has been taken.
        let room = self.limit - self.len();
        u64::try_from(room).is_ok_and(|room| more > room)
    }

    /// Takes a chunk, or gives it back if it would be too much.
    pub(super) fn push(&mut self, chunk: Bytes) -> Result<(), Bytes> {
        if u64::try_from(chunk.len()).is_ok_and(|more| self.would_overflow(more)) {
            return Err(chunk);
        }
        if self.len() == 0 {
            self.first = chunk;
        } else if !chunk.is_empty() {
            if self.joined.is_empty() {
                self.joined.reserve(self.first.len() + chunk.len());
                self.joined.extend_from_slice(&mem::take(&mut self.first));
            }
            self.joined.extend_from_slice(&chunk);
        }
        Ok(())
    }

    /// All that was taken.
    pub(super) fn pour(&mut self) -> Bytes {
        if self.joined.is_empty() {
            mem::take(&mut self.first)
        } else {
            mem::take(&mut self.joined).freeze()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_single_chunk_is_not_copied() {
        let chunk = Bytes::from_static(b"chunk");
        let mut pail = Pail::new(5);
        pail.push(chunk.clone()).unwrap();
        pail.push(Bytes::new()).unwrap();
        assert_eq!(pail.pour().as_ptr(), chunk.as_ptr());
    }

    #[test]
    fn a_length_beyond_memory_overflows() {
        assert!(Pail::new(5).would_overflow(u64::MAX));
        assert!(!Pail::new(5).would_overflow(5));
        assert!(!Pail::new(usize::MAX).would_overflow(5));
    }

    proptest! {
        #[test]
        fn takes_what_a_vector_would(
            limit in 0_usize..64, chunks: Vec<Vec<u8>>
        ) {
            let mut pail = Pail::new(limit);
            let mut taken = Vec::new();
            for chunk in chunks {
                let fits = taken.len() + chunk.len() <= limit;
                let pushed = pail.push(chunk.clone().into());
                prop_assert_eq!(pushed.is_ok(), fits);
                if fits {
                    taken.extend(chunk);
                }
                prop_assert_eq!(pail.len(), taken.len());
            }
            prop_assert_eq!(pail.pour(), taken);
            prop_assert_eq!(pail.len(), 0);
        }
    }
}
