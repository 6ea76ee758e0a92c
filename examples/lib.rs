//! One short program per pattern; see the files beside this one.
