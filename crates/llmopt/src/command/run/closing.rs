//! What `run` says at its end.

use crate::{print, units};
use serde_json::Value;
use std::path::Path;

/// Where the artifact is, and what it weighs.
pub(super) fn render(output: &Path, record: &Value) -> String {
    let number = |key: &str| record.get(key).and_then(Value::as_u64);
    let mut facts = vec![("wrote", format!("folder `{}`", output.display()))];
    if let (Some(before), Some(after)) = (number("bytes_before"), number("bytes_after")) {
        let share = units::share(after, before);
        let (before, after) = (units::bytes(before), units::bytes(after));
        facts.push(("size", format!("{before} to {after} of weights in the last stage ({share})")));
    }
    print::facts(&facts)
}
