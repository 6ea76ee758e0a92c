//! Seeds out of seeds, so that adding an arm or a layer changes nothing for the others.

/// The odd number nearest to 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A number by its position in a sequence that a seed names.
pub(crate) const fn word(seed: u64, at: u64) -> u64 {
    mix(mix(seed).wrapping_add(at.wrapping_mul(GOLDEN)))
}

/// The same, at least 0 and below 1.
pub(crate) const fn unit(seed: u64, at: u64) -> f64 {
    (word(seed, at) >> 11) as f64 / (1_u64 << 53) as f64
}

/// The seed of something with a name.
pub(crate) fn named(seed: u64, name: &str) -> u64 {
    // FNV-1a (Fowler, Noll, Vo); the standard hasher may change between versions.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    word(seed, hash)
}

/// The output function of SplitMix64 (Steele, Lea, Flood 2014; constants by Stafford).
const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_have_unlike_seeds() {
        let near = [word(1, 0), word(1, 1), word(2, 0), named(1, "retry 3"), named(1, "retry 5")];
        for (i, a) in near.iter().enumerate() {
            for b in &near[i + 1..] {
                assert!((a ^ b).count_ones() > 10, "{a:x} {b:x}");
            }
        }
    }

    #[test]
    fn units_fill_the_unit_interval() {
        let mean = (0..10_000).map(|at| unit(7, at)).sum::<f64>() / 1e4;
        assert!((mean - 0.5).abs() < 0.015, "{mean}");
    }
}
