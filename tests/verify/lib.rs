//! Nothing: the checks are the two test binaries, which include the cores by path.
