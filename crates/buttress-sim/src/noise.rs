//! Random numbers by position: any number of any sequence, without the ones before it.

/// Sequences of random numbers that are told apart by a lane.
///
/// Position and not order decides what is drawn, so calls may be made on any worker in any order.
/// The function is spelled out here, rather than taken from a crate that may change it between
/// versions, because a seed in a report should give the same faults years later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noise {
    seed: u64,
}

/// The odd number nearest to 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Noise {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The number at a position of a lane.
    pub(crate) const fn word(self, lane: u64, at: u64) -> u64 {
        let key = mix(mix(self.seed).wrapping_add(lane.wrapping_mul(GOLDEN)));
        mix(key.wrapping_add(at.wrapping_mul(GOLDEN)))
    }

    /// The number at a position of a lane, at least 0 and below 1.
    pub(crate) const fn unit(self, lane: u64, at: u64) -> f64 {
        (self.word(lane, at) >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }
}

/// The output function of SplitMix64 (Steele, Lea, Flood, *Fast Splittable Pseudorandom Number
/// Generators*, 2014; constants by Stafford, variant 13).
const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mixer_is_that_of_splitmix64() {
        // The first outputs of the reference implementation for seed 0.
        let first: Vec<u64> = (1..=3).map(|n| mix(GOLDEN.wrapping_mul(n))).collect();
        assert_eq!(first, [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f]);
    }

    #[test]
    fn lanes_and_positions_are_independent() {
        const N: u64 = 100_000;
        let noise = Noise::new(7);
        let mean = |f: &dyn Fn(u64) -> f64| (0..N).map(f).sum::<f64>() / N as f64;
        let centred = |lane, at| noise.unit(lane, at) - 0.5;
        // Four standard deviations of a mean of N products of two uniforms: 4 / 12 / sqrt(N).
        let bound = 4.0 / 12.0 / (N as f64).sqrt();
        assert!(mean(&|at| centred(0, at) * centred(1, at)).abs() < bound);
        assert!(mean(&|at| centred(0, at) * centred(0, at + 1)).abs() < bound);
        assert!(mean(&|at| centred(0, at)).abs() < 4.0 / (12.0 * N as f64).sqrt());
        let other = Noise::new(8);
        assert!(mean(&|at| centred(0, at) * (other.unit(0, at) - 0.5)).abs() < bound);
    }
}
