//! What must hold in every interleaving, told once for both checkers.

use crate::{
    bucket::{Bucket, TOKEN, Terms},
    run::Scenario,
    shelf::Shelf,
    sync::{Arc, AtomicU64, Ordering, explore, thread},
};

/// Runs each piece of work in a thread of its own and gives back what they return.
pub(crate) fn together<T: Send + 'static>(work: Vec<Box<dyn FnOnce() -> T + Send>>) -> Vec<T> {
    let threads: Vec<_> = work.into_iter().map(thread::spawn).collect();
    threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
}

/// The same piece of work for two threads.
pub(crate) fn twice<S: Send + Sync + 'static, T: Send + 'static>(
    shared: &Arc<S>,
    work: fn(&S) -> T,
) -> Vec<Box<dyn FnOnce() -> T + Send>> {
    (0..2)
        .map(|_| {
            let shared = shared.clone();
            Box::new(move || work(&shared)) as _
        })
        .collect()
}

const TERMS: Terms = Terms { per_success: TOKEN / 2, trickle: 100, cap: TOKEN };

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("budget: the last token is withdrawn once", || {
        explore(|| {
            let bucket = Arc::new(Bucket::new(TERMS));
            let got = together(twice(&bucket, |bucket| bucket.withdraw(0, TOKEN)));
            assert_eq!(got.iter().filter(|got| **got).count(), 1);
            assert_eq!(bucket.balance(), 0);
        });
    }),
    ("budget: the trickle is paid once", || {
        explore(|| {
            let bucket = Arc::new(Bucket::new(TERMS));
            assert!(bucket.withdraw(0, TOKEN));
            let got = together(twice(&bucket, |bucket| bucket.withdraw(10_000, TOKEN)));
            assert_eq!(got.iter().filter(|got| **got).count(), 1);
        });
    }),
    ("budget: no deposit is lost", || {
        explore(|| {
            let bucket = Arc::new(Bucket::new(TERMS));
            assert!(bucket.withdraw(0, TOKEN));
            together(twice(&bucket, Bucket::deposit));
            assert_eq!(bucket.balance(), TOKEN);
        });
    }),
    ("budget: deposits and withdrawals add up", || {
        explore(|| {
            let bucket = Arc::new(Bucket::new(TERMS));
            assert!(bucket.withdraw(0, TOKEN / 2));
            let (one, two) = (bucket.clone(), bucket.clone());
            let got = together::<bool>(vec![
                Box::new(move || {
                    one.deposit();
                    false
                }),
                Box::new(move || two.withdraw(0, TOKEN)),
            ]);
            // Half a token was left and half came in: the withdrawal came before or after it.
            let withdrawn = if got[1] { TOKEN } else { 0 };
            assert_eq!(bucket.balance() + withdrawn, TOKEN);
        });
    }),
    ("failover: whoever takes an instance gets one, and the shelf never runs out", || {
        explore(|| {
            let shelf = Arc::new(Shelf::new(7));
            let got = together(twice(&shelf, |shelf| {
                let instance = shelf.take();
                shelf.put(instance);
                instance
            }));
            assert_eq!(got, [7, 7]);
            assert_eq!(shelf.take(), 7);
        });
    }),
    ("canary: a planted race is found", || {
        // A check that does not find this one finds nothing.
        let found = std::panic::catch_unwind(|| {
            explore(|| {
                let balance = Arc::new(AtomicU64::new(1));
                let got = together(twice(&balance, |balance| {
                    let seen = balance.load(Ordering::Relaxed);
                    if seen > 0 {
                        balance.store(seen - 1, Ordering::Relaxed);
                    }
                    seen > 0
                }));
                assert_eq!(got.iter().filter(|got| **got).count(), 1, "the canary");
            });
        });
        assert!(found.is_err(), "two threads took the last token, and nobody noticed");
    }),
];
