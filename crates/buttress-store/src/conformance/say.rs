//! How a case says what was broken.

use std::fmt::Display;

/// Goes on only if a condition holds.
macro_rules! ensure {
    ($holds:expr, $($sentence:tt)+) => {
        if !$holds {
            return Err(format!($($sentence)+));
        }
    };
}

/// Takes what a pattern names out of a value, or says what was there instead.
macro_rules! expect {
    ($value:expr, $pattern:pat $(if $guard:expr)? => $out:expr, $($doing:tt)+) => {
        match $value {
            $pattern $(if $guard)? => $out,
            other => {
                return Err(format!(
                    "{}: expected {}, found {other:?}",
                    format_args!($($doing)+),
                    stringify!($pattern),
                ));
            }
        }
    };
}

/// Goes on only if an operation was refused in this way.
macro_rules! refused {
    ($result:expr, $pattern:pat, $($doing:tt)+) => {
        expect!($result, Err($pattern) => {}, $($doing)+)
    };
}

/// Goes on only if two values are the same.
macro_rules! same {
    ($found:expr, $expected:expr, $($what:tt)+) => {{
        let (found, expected) = (&$found, &$expected);
        ensure!(
            *found == *expected,
            "{}: expected {expected:?}, found {found:?}",
            format_args!($($what)+)
        );
    }};
}

/// Says at what an operation failed.
pub(super) trait At<T> {
    fn at(self, doing: impl Display) -> Result<T, String>;
}

impl<T, E: Display> At<T> for Result<T, E> {
    fn at(self, doing: impl Display) -> Result<T, String> {
        self.map_err(|error| format!("{doing}: {error}"))
    }
}

impl<T> At<T> for Option<T> {
    fn at(self, doing: impl Display) -> Result<T, String> {
        self.ok_or_else(|| format!("{doing}: nothing was found"))
    }
}
