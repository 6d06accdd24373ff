//! Which crate may see which.

use crate::repository::{cargo, output};
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Each package of the workspace and the packages of the workspace that it sees, in the order in
/// which a tensor meets them. `quant` and `codec` are siblings over `scheme`: this keeps schemes,
/// algorithms and formats a sum and not a product.
const EDGES: &[(&str, &[&str])] = &[
    ("llmopt-tensor", &[]),
    ("llmopt-checkpoint", &["llmopt-tensor"]),
    ("llmopt-linalg", &["llmopt-tensor"]),
    ("llmopt-arch", &["llmopt-tensor"]),
    ("llmopt-scheme", &["llmopt-tensor"]),
    ("llmopt-codec", &["llmopt-scheme", "llmopt-tensor"]),
    ("llmopt-quant", &["llmopt-linalg", "llmopt-scheme", "llmopt-tensor"]),
    ("llmopt-prune", &["llmopt-linalg"]),
    ("llmopt-forward", &["llmopt-arch", "llmopt-linalg", "llmopt-scheme", "llmopt-tensor"]),
    ("llmopt-text", &[]),
    (
        "llmopt-calib",
        &["llmopt-arch", "llmopt-forward", "llmopt-linalg", "llmopt-scheme", "llmopt-tensor"],
    ),
    ("llmopt-eval", &["llmopt-tensor"]),
    ("llmopt-run", &["llmopt-arch", "llmopt-checkpoint"]),
    (
        "llmopt-model",
        &[
            "llmopt-arch",
            "llmopt-checkpoint",
            "llmopt-codec",
            "llmopt-forward",
            "llmopt-linalg",
            "llmopt-quant",
            "llmopt-run",
            "llmopt-scheme",
            "llmopt-tensor",
        ],
    ),
    (
        "llmopt-sweep",
        &[
            "llmopt-arch",
            "llmopt-checkpoint",
            "llmopt-forward",
            "llmopt-linalg",
            "llmopt-model",
            "llmopt-run",
        ],
    ),
    (
        "llmopt-estimate",
        &[
            "llmopt-arch",
            "llmopt-calib",
            "llmopt-checkpoint",
            "llmopt-forward",
            "llmopt-linalg",
            "llmopt-model",
            "llmopt-prune",
            "llmopt-quant",
            "llmopt-run",
            "llmopt-scheme",
            "llmopt-sweep",
            "llmopt-tensor",
        ],
    ),
    (
        "llmopt-data",
        &[
            "llmopt-arch",
            "llmopt-checkpoint",
            "llmopt-forward",
            "llmopt-linalg",
            "llmopt-model",
            "llmopt-run",
            "llmopt-sweep",
            "llmopt-tensor",
            "llmopt-text",
        ],
    ),
    (
        "llmopt-measure",
        &[
            "llmopt-arch",
            "llmopt-checkpoint",
            "llmopt-data",
            "llmopt-estimate",
            "llmopt-eval",
            "llmopt-forward",
            "llmopt-linalg",
            "llmopt-model",
            "llmopt-run",
            "llmopt-sweep",
            "llmopt-tensor",
            "llmopt-text",
        ],
    ),
    (
        "llmopt-verify",
        &[
            "llmopt-arch",
            "llmopt-checkpoint",
            "llmopt-codec",
            "llmopt-model",
            "llmopt-run",
            "llmopt-scheme",
            "llmopt-tensor",
        ],
    ),
    (
        "llmopt-rewrite",
        &[
            "llmopt-arch",
            "llmopt-checkpoint",
            "llmopt-codec",
            "llmopt-forward",
            "llmopt-linalg",
            "llmopt-model",
            "llmopt-run",
            "llmopt-scheme",
            "llmopt-sweep",
            "llmopt-tensor",
        ],
    ),
    (
        "llmopt-pipeline",
        &[
            "llmopt-arch",
            "llmopt-calib",
            "llmopt-checkpoint",
            "llmopt-codec",
            "llmopt-data",
            "llmopt-estimate",
            "llmopt-eval",
            "llmopt-expect",
            "llmopt-forward",
            "llmopt-linalg",
            "llmopt-measure",
            "llmopt-model",
            "llmopt-prune",
            "llmopt-quant",
            "llmopt-rewrite",
            "llmopt-run",
            "llmopt-scheme",
            "llmopt-sweep",
            "llmopt-tensor",
            "llmopt-text",
            "llmopt-verify",
        ],
    ),
    ("llmopt-recipe", &[]),
    ("llmopt", &["llmopt-pipeline", "llmopt-recipe"]),
    // Of tests alone.
    ("llmopt-expect", &[]),
    (
        "xtask",
        &[
            "llmopt",
            "llmopt-arch",
            "llmopt-checkpoint",
            "llmopt-codec",
            "llmopt-recipe",
            "llmopt-scheme",
            "llmopt-tensor",
        ],
    ),
];

pub(super) fn faults() -> Result<Vec<String>> {
    let metadata = output(&mut cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().context("cargo lists packages")?;
    let found: BTreeMap<&str, BTreeSet<&str>> = packages.iter().filter_map(edges).collect();
    Ok(differences(&found))
}

fn edges(package: &Value) -> Option<(&str, BTreeSet<&str>)> {
    let dependencies = package["dependencies"].as_array()?;
    let inside = dependencies.iter().filter(|dependency| !dependency["path"].is_null());
    let names = inside.filter_map(|dependency| dependency["name"].as_str()).collect();
    Some((package["name"].as_str()?, names))
}

fn differences(found: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<String> {
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        EDGES.iter().map(|(name, sees)| (*name, sees.iter().copied().collect())).collect();
    let names: BTreeSet<&str> = found.keys().chain(allowed.keys()).copied().collect();
    let mut faults = Vec::new();
    for name in names {
        let (Some(sees), Some(may)) = (found.get(name), allowed.get(name)) else {
            let place =
                if found.contains_key(name) { "the table of edges" } else { "the workspace" };
            faults.push(format!("crate `{name}` is missing in {place}"));
            continue;
        };
        faults.extend(
            sees.difference(may).map(|seen| format!("crate `{name}` must not see `{seen}`")),
        );
        faults.extend(may.difference(sees).map(|seen| {
            format!("crate `{name}` may see `{seen}` and does not: take the edge from the table")
        }));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_too_many_a_missing_one_and_an_unknown_crate_are_faults() {
        let mut graph: BTreeMap<&str, BTreeSet<&str>> =
            EDGES.iter().map(|(name, sees)| (*name, sees.iter().copied().collect())).collect();
        assert!(differences(&graph).is_empty());
        graph.insert("llmopt-codec", ["llmopt-quant", "llmopt-tensor"].into());
        graph.insert("llmopt-extra", [].into());
        assert_eq!(
            differences(&graph),
            [
                "crate `llmopt-codec` must not see `llmopt-quant`",
                "crate `llmopt-codec` may see `llmopt-scheme` and does not: take the edge from the table",
                "crate `llmopt-extra` is missing in the table of edges",
            ]
        );
    }
}
