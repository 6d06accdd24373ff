//! What `run` says at its end.

use crate::{print, units};
use serde_json::Value;
use std::path::Path;

/// Where the artifact is, and what it weighs.
pub(super) fn render(output: &Path, record: &Value) -> String {
    let mut facts = vec![("wrote", format!("folder `{}`", output.display()))];
    if let (Some(before), Some(after)) =
        (number(first(record), "bytes_before"), number(record, "bytes_after"))
    {
        let share = units::share(after, before);
        let (before, after) = (units::bytes(before), units::bytes(after));
        facts.push(("size", format!("{before} to {after} of weights ({share})")));
    }
    print::facts(&facts)
}

fn number(record: &Value, key: &str) -> Option<u64> {
    record.get(key)?.as_u64()
}

/// The record of the first stage, which read the model itself.
fn first(record: &Value) -> &Value {
    record.get("made_from").map_or(record, first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_size_is_told_from_the_model_on() {
        let pruned = json!({ "bytes_before": 4096, "bytes_after": 2048 });
        let record = json!({ "bytes_before": 2048, "bytes_after": 1024, "made_from": pruned });
        let expected = "wrote  folder `a/b`\nsize   4.00 KiB to 1.00 KiB of weights (25.0 %)\n";
        assert_eq!(render(Path::new("a/b"), &record), expected);
    }
}
