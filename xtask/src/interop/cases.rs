//! Which schemes are tried on which checkpoints, and what must come of it.

use crate::repository::root;
use anyhow::Result;
use std::fs;
use std::path::{Path, PathBuf};

/// A checkpoint and how it is quantized.
pub(super) struct Case {
    pub(super) model: PathBuf,
    pub(super) options: &'static [&'static str],
    pub(super) expected: Expected,
    /// Transformers renames, stacks or dequantizes its tensors as it loads them, and they keep the dtype that
    /// they, or their scales, have on disk.
    pub(super) keeps_dtype: bool,
    /// Its weights have zero points, which load dequantized only.
    pub(super) zero_points: bool,
}

#[derive(Clone, Copy)]
pub(super) enum Expected {
    Loads,
    /// With a message that holds this.
    Refused(&'static str),
}

/// What every checkpoint is quantized with.
const SCHEMES: &[&[&str]] = &[
    &["--scheme", "w8a16"],
    &["--scheme", "w4a16"],
    &["--scheme", "w4a16", "--group-size", "channel"],
    &["--scheme", "w4a16", "--asymmetric"],
    &["--scheme", "w8a8"],
    &["--scheme", "fp8"],
    &["--scheme", "fp8-block"],
];

/// What the trained checkpoints are quantized with besides.
const MORE: &[&[&str]] = &[
    &["--scheme", "w8a16", "--method", "rtn"],
    &["--scheme", "w8a16", "--group-size", "128"],
    &["--scheme", "w4a16", "--method", "rtn"],
    &["--scheme", "w4a16", "--group-size", "128"],
    &["--scheme", "w4a16", "--group-size", "64"],
    &["--scheme", "w4a16", "--group-size", "32"],
    &["--scheme", "w4a16", "--asymmetric", "--method", "rtn"],
    &["--scheme", "w4a16", "--asymmetric", "--group-size", "32"],
    &["--scheme", "w8a8", "--method", "rtn"],
    &["--scheme", "fp8", "--method", "rtn"],
    &["--scheme", "fp8-block", "--runtime", "transformers"],
    &["--scheme", "fp8-block", "--runtime", "transformers", "--method", "rtn"],
    &["--scheme", "w5a16", "--group-size", "channel"],
    &["--scheme", "w6a16"],
    &["--scheme", "w7a16", "--asymmetric"],
    &["--scheme", "w4a16", "--lm-head"],
    &["--scheme", "w4a16", "--exclude", "model.layers.1.*"],
];

/// What some checkpoints are quantized with besides.
const LOW_BITS: &[&[&str]] = &[
    &["--scheme", "w3a16"],
    &["--scheme", "w3a16", "--runtime", "transformers"],
    &["--scheme", "w3a16", "--runtime", "transformers", "--group-size", "channel"],
    &["--scheme", "w3a16", "--runtime", "transformers", "--asymmetric"],
    &["--scheme", "w3a16", "--runtime", "transformers", "--asymmetric", "--group-size", "channel"],
    &["--scheme", "w2a16", "--runtime", "transformers"],
    &["--scheme", "w2a16", "--runtime", "transformers", "--group-size", "channel"],
    &["--scheme", "w2a16", "--runtime", "transformers", "--asymmetric"],
    &["--scheme", "w2a16", "--runtime", "transformers", "--group-size", "32", "--method", "rtn"],
];

/// Beside the trained ones: biases, merged matrices, experts, a wrapper.
const WITH_LOW_BITS: [&str; 4] = ["qwen2", "phi3", "mixtral", "gemma3"];

/// Transformers stacks a layer's experts.
const EXPERTS: [&str; 2] = ["mixtral", "qwen3_moe"];

/// It renames what is below the language model in the wrapper.
const WRAPPERS: [&str; 1] = ["gemma3"];

pub(super) fn all() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for trained in ["testdata/tiny-llama", "../shared/models/llama-8m"] {
        let model = root().join(trained);
        if model.exists() {
            let options = SCHEMES.iter().chain(MORE).chain(LOW_BITS);
            cases.extend(options.map(|options| case(model.clone(), options)));
        }
    }
    let mut families = Vec::new();
    for entry in fs::read_dir(root().join("testdata/families"))? {
        families.push(entry?.path());
    }
    families.sort();
    for model in families {
        let low_bits = WITH_LOW_BITS.contains(&name_of(&model).as_str());
        let options = SCHEMES.iter().chain(LOW_BITS.iter().filter(|_| low_bits));
        let options = options.map(|options| one_size(&name_of(&model), options));
        cases.extend(options.map(|options| case(model.clone(), options)));
    }
    Ok(cases)
}

/// Zero points are dequantized as they are loaded, and what does that knows one size of groups alone.
fn one_size(family: &str, options: &'static [&'static str]) -> &'static [&'static str] {
    const ZERO_POINTS: &[&str] = &["--scheme", "w4a16", "--asymmetric"];
    match family {
        "llama-fp8" if options == ZERO_POINTS => {
            &["--scheme", "w4a16", "--asymmetric", "--group-size", "64"]
        }
        _ => options,
    }
}

fn case(model: PathBuf, options: &'static [&'static str]) -> Case {
    let family = name_of(&model);
    let expected = expected(&family, options);
    let zero_points = options.contains(&"--asymmetric");
    let renamed = EXPERTS.contains(&family.as_str()) || WRAPPERS.contains(&family.as_str());
    Case { model, options, expected, keeps_dtype: renamed || zero_points, zero_points }
}

fn expected(family: &str, options: &[&str]) -> Expected {
    let has = |option: &str| options.contains(&option);
    let has_experts = EXPERTS.contains(&family);
    match () {
        () if has_experts && has("--asymmetric") => {
            Expected::Refused("transformers stacks experts")
        }
        () if has_experts && has("w8a8") => Expected::Refused("transformers stacks experts"),
        () if has_experts && has("fp8-block") => Expected::Refused("transformers stacks experts"),
        // vLLM merges their matrices, which are smaller than a block.
        () if has("fp8-block") && !has("--runtime") && family != "llama-8m" => {
            Expected::Refused("128")
        }
        () => Expected::Loads,
    }
}

impl Case {
    /// The checkpoint, and the options without their dashes.
    pub(super) fn name(&self) -> String {
        let options = self.options.iter().map(|option| option.trim_start_matches('-'));
        let words = options.filter(|word| !["scheme", "group-size", "method"].contains(word));
        let words: Vec<&str> = words.collect();
        format!("{} {}", name_of(&self.model), words.join(" "))
    }

    pub(super) fn has_activations(&self) -> bool {
        ["w8a8", "fp8", "fp8-block"].iter().any(|scheme| self.options.contains(scheme))
    }
}

fn name_of(model: &Path) -> String {
    model.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
