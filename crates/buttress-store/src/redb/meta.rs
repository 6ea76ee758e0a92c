//! What is kept of the store as a whole: its layout, and the last epoch that was handed out.

use buttress::store::{Damage, Digest};

const MAGIC: &[u8; 4] = b"BTRM";

/// The layout of the tables that this release writes.
pub(super) const LAYOUT: u32 = 2;

/// How far epochs jump when it is not known any more which were handed out.
pub(super) const LEAP: u64 = 1 << 32;

/// The form of this row is the same in every layout, so that an older release can tell that a file is
/// of a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) layout: u32,
    /// The last epoch that was handed out, to a lease, a workflow, or a start of the clock.
    pub(super) epoch: u64,
}

impl Meta {
    pub(super) const NEW: Self = Self { layout: LAYOUT, epoch: 0 };

    pub(super) fn seal(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(48);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.layout.to_le_bytes());
        bytes.extend_from_slice(&self.epoch.to_le_bytes());
        let digest = Digest::of(&bytes);
        bytes.extend_from_slice(&digest.0);
        bytes
    }

    pub(super) fn open(bytes: &[u8]) -> Result<Self, Damage> {
        let (body, digest) = bytes.split_last_chunk::<32>().ok_or(Damage::Digest)?;
        if Digest::of(body) != Digest(*digest) {
            return Err(Damage::Digest);
        }
        let (magic, rest) = body.split_first_chunk::<4>().ok_or(Damage::Digest)?;
        let (layout, rest) = rest.split_first_chunk::<4>().ok_or(Damage::Digest)?;
        let (epoch, _) = rest.split_first_chunk::<8>().ok_or(Damage::Digest)?;
        if magic != MAGIC {
            return Err(Damage::Misplaced);
        }
        Ok(Self { layout: u32::from_le_bytes(*layout), epoch: u64::from_le_bytes(*epoch) })
    }

    /// An epoch that was not handed out yet.
    pub(super) const fn next(&self) -> u64 {
        self.epoch + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_opened_and_no_flipped_bit_passes() {
        let meta = Meta { layout: 7, epoch: 1 << 40 };
        let bytes = meta.seal();
        assert_eq!(Meta::open(&bytes), Ok(meta));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Meta::open(&flipped), Err(Damage::Digest));
        }
    }
}
