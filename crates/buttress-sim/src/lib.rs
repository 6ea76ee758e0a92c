//! The unreliable tool of the experiments and tests.
