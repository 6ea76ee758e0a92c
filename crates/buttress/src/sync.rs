//! The primitives that shared cores are built on.
//!
//! Cores that are model-checked take them from `crate::sync`; the checking crate includes the
//! same files with the checker's primitives in this place.

pub(crate) use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};
