//! A seedable source of randomness that every call draws from on its own.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use rand::{RngExt, SeedableRng, TryRng, rngs::SmallRng, rngs::SysRng};

/// Hands out independent streams of random numbers.
///
/// The default is seeded once per process by the operating system.
/// [`Random::seeded`] gives the same streams in the same order every time.
///
/// # Clone
/// Clones draw from one sequence of streams; no two draw the same stream.
#[derive(Clone, Default)]
pub struct Random(Option<Arc<Source>>);

struct Source {
    seed: u64,
    streams: AtomicU64,
}

/// The odd number nearest to 2^64 divided by the golden ratio: consecutive multiples of it are
/// spread evenly, which keeps the seeds of consecutive streams far apart.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Source {
    const fn new(seed: u64) -> Self {
        Self { seed, streams: AtomicU64::new(0) }
    }

    fn stream(&self) -> SmallRng {
        let number = self.streams.fetch_add(1, Ordering::Relaxed);
        SmallRng::seed_from_u64(self.seed ^ number.wrapping_add(1).wrapping_mul(GOLDEN))
    }
}

impl Random {
    /// Streams that are the same for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Arc::new(Source::new(seed))))
    }

    /// The next stream.
    pub(crate) fn stream(&self) -> SmallRng {
        static PROCESS: OnceLock<Source> = OnceLock::new();
        match &self.0 {
            Some(source) => source.stream(),
            None => PROCESS.get_or_init(|| Source::new(from_the_system())).stream(),
        }
    }

    /// One number of a new stream, at least 0 and below 1.
    pub fn unit(&self) -> f64 {
        self.stream().random()
    }

    /// One 64-bit number of a new stream.
    #[cfg(any(test, feature = "serde"))]
    pub(crate) fn word(&self) -> u64 {
        self.stream().random()
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(source) => f.debug_tuple("Random").field(&source.seed).finish(),
            None => f.write_str("Random(process)"),
        }
    }
}

fn from_the_system() -> u64 {
    // A system without entropy still gets a working library: the address of a local differs
    // between processes, and randomness here spreads load, it guards no secret.
    SysRng.try_next_u64().unwrap_or_else(|_| {
        let local = 0_u8;
        (&raw const local).addr() as u64
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_streams() {
        let (a, b) = (Random::seeded(7), Random::seeded(7));
        let first: Vec<u64> = (0..4).map(|_| a.word()).collect();
        let second: Vec<u64> = (0..4).map(|_| b.word()).collect();
        assert_eq!(first, second);
    }

    #[test]
    fn clones_never_share_a_stream() {
        let a = Random::seeded(7);
        let b = a.clone();
        assert_ne!(a.word(), b.word());
    }
}
