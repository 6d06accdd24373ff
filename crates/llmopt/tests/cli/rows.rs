//! Tables of which each row is a test.

/// Makes a test of each row, named by it, in a module of the table's name: a failure says which row it was,
/// rows run side by side, and the slowest can be seen.
///
/// `rows! { table = check; row(arguments) ... }` is `fn row() { check(arguments) }` and so on.
macro_rules! rows {
    ($(#[$about:meta])* $table:ident = $check:ident; $($row:ident($($argument:expr),* $(,)?))+) => {
        $(#[$about])*
        mod $table {
            use super::*;

            /// The names of all rows.
            #[allow(dead_code, reason = "not every table is held against what there is")]
            pub(super) const NAMES: &[&str] = &[$(stringify!($row)),+];

            $(
                #[test]
                fn $row() {
                    $check($($argument),*);
                }
            )+
        }
    };
}
