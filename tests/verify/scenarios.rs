//! What must hold in every interleaving, told once for both checkers.

use crate::{
    bucket::{Bucket, TOKEN, Terms},
    sync::{Arc, AtomicU64, Ordering, explore, thread},
};

/// Runs each piece of work in a thread of its own and gives back what they return.
fn together<T: Send + 'static>(work: Vec<Box<dyn FnOnce() -> T + Send>>) -> Vec<T> {
    let threads: Vec<_> = work.into_iter().map(thread::spawn).collect();
    threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
}

fn twice<S: Clone + Send + 'static, T: Send + 'static>(
    shared: &S,
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

#[test]
fn the_last_token_is_withdrawn_once() {
    explore(|| {
        let bucket = Arc::new(Bucket::new(TERMS));
        let got = together(twice(&bucket, |bucket| bucket.withdraw(0, TOKEN)));
        assert_eq!(got.iter().filter(|got| **got).count(), 1);
        assert_eq!(bucket.balance(), 0);
    });
}

#[test]
fn the_trickle_is_paid_once() {
    explore(|| {
        let bucket = Arc::new(Bucket::new(TERMS));
        assert!(bucket.withdraw(0, TOKEN));
        let got = together(twice(&bucket, |bucket| bucket.withdraw(10_000, TOKEN)));
        assert_eq!(got.iter().filter(|got| **got).count(), 1);
    });
}

#[test]
fn no_deposit_is_lost() {
    explore(|| {
        let bucket = Arc::new(Bucket::new(TERMS));
        assert!(bucket.withdraw(0, TOKEN));
        together(twice(&bucket, |bucket| bucket.deposit()));
        assert_eq!(bucket.balance(), TOKEN);
    });
}

#[test]
fn deposits_and_withdrawals_add_up() {
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
}

/// A canary: a check that does not find this race finds nothing.
#[test]
#[should_panic(expected = "the canary")]
fn a_planted_race_is_found() {
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
}
