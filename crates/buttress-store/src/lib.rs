//! Where Buttress keeps state: an embedded file by default, PostgreSQL behind a feature.
//!
//! | store | for | opened by |
//! |---|---|---|
//! | [`RedbStore`] | one process | [`RedbStore::open`], or [`redb::Options`] |
//! | `PostgresStore` (feature `postgres`) | several processes or machines | `PostgresStore::connect`, or `postgres::Options` |
//! | [`MemoryStore`](buttress::store::MemoryStore), in `buttress` | tests | |
//! | one of your own | | [`conformance`] checks it; [`ledger`](buttress::store::ledger) decides for it |
//!
//! A [`Journal`](buttress::store::Journal) over a store is what layers, graphs and workers are given.

pub mod conformance;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod redb;

#[cfg(feature = "postgres")]
pub use self::postgres::PostgresStore;
pub use self::redb::RedbStore;
