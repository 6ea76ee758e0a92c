//! What the layers cost.
