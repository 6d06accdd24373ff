//! Logits of every family and of every variant of its config, against Transformers' own.

use super::Tally;
use crate::random::Generator;
use crate::repository::{command, output, root, succeed};
use anyhow::{Context, Result};
use llmopt_checkpoint::Header;
use llmopt_tensor::{Dtype, TensorMeta};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `--only` finds these by.
pub(super) const NAME: &str = "logits";

/// Tokens of a window and how many windows. The first are of odd length, several to a batch; the second
/// are long enough to leave the sliding windows and the original contexts of the checkpoints behind.
const WINDOWS: [(usize, usize); 2] = [(83, 3), (200, 2)];

/// Transformers dequantizes block-wise fp8 off a GPU, and then leaves the inputs as they are.
const WITHOUT_A_JUDGE: [&str; 1] = ["llama-fp8"];

pub(super) fn run(python: &Path, program: &Path, place: &Path, tally: &mut Tally) -> Result<()> {
    let place = place.join(NAME);
    let mut cases = Vec::new();
    for (name, model) in models(&place)? {
        for (window, windows) in WINDOWS {
            let folder = place.join(format!("{name}-{window}"));
            fs::create_dir_all(&folder)?;
            let case = format!("{name} {window}");
            let name = format!("logits {case}");
            match evaluated(program, &name, &model, &folder, (window, windows)) {
                Ok(case) => cases.push(case),
                Err(error) => tally.fail(&name, &error),
            }
        }
    }
    hold(python, SCRIPT, &place, cases, tally)
}

/// Compares logits of ours with Transformers' own.
pub(super) const SCRIPT: &str = "logits.py";

/// Has a script of `xtask/interop` compute what the cases name, and compare.
pub(super) fn hold(
    python: &Path,
    script: &str,
    place: &Path,
    cases: Vec<Value>,
    tally: &mut Tally,
) -> Result<()> {
    let [list, results, errors] =
        ["cases.json", "results.json", "stderr.txt"].map(|name| place.join(name));
    fs::write(&list, Value::from(cases).to_string())?;
    let mut compare = Command::new(python);
    compare.arg(root().join("xtask/interop").join(script)).args([&list, &results]);
    succeed(compare.stderr(fs::File::create(&errors)?))
        .with_context(|| format!("see {}", errors.display()))?;
    tally.add(&results)
}

/// Every seeded checkpoint, and a copy of it with each variant of its config.
fn models(place: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut models = Vec::new();
    for family in folders(&root().join("testdata/families"))? {
        let name = name_of(&family);
        if WITHOUT_A_JUDGE.contains(&name.as_str()) {
            continue;
        }
        let variants = root().join("testdata/variants").join(&name);
        if variants.exists() {
            for config in folders(&variants)? {
                let variant = format!("{name}-{}", config.file_stem().context("a name")?.display());
                let copy = place.join("models").join(&variant);
                fs::create_dir_all(&copy)?;
                fs::copy(&config, copy.join("config.json"))?;
                fs::copy(family.join("model.safetensors"), copy.join("model.safetensors"))?;
                models.push((variant, copy));
            }
        }
        models.push((name, family));
    }
    models.sort();
    Ok(models)
}

fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("{}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// A case: random token ids in so many windows of so many tokens, and our logits after each of them.
pub(super) fn evaluated(
    program: &Path,
    name: &str,
    model: &Path,
    folder: &Path,
    (window, windows): (usize, usize),
) -> Result<Value> {
    let (ids, logits) = (folder.join("ids.safetensors"), folder.join("logits.safetensors"));
    fs::write(&ids, token_file(vocabulary(model)?, window * windows)?)?;
    let text = |path: &Path| path.display().to_string();
    let long = window.to_string();
    let arguments = ["eval", &text(model), "--text", &text(&ids), "--window", &long];
    let mut eval = command(&text(program), &arguments);
    output(eval.args(["--logits", &text(&logits), "--json"]))?;
    Ok(json!({ "name": name, "model": model, "ids": ids, "logits": logits, "window": window }))
}

/// The vocabulary that a config states.
pub(super) fn vocabulary(model: &Path) -> Result<usize> {
    let config: Value = serde_json::from_slice(&fs::read(model.join("config.json"))?)?;
    let size = |config: &Value| config.get("vocab_size").and_then(Value::as_u64);
    let size = size(&config).or_else(|| size(config.get("text_config")?));
    Ok(usize::try_from(size.context("`vocab_size`")?)?)
}

/// A file of random ids that mean nothing special.
pub(super) fn token_file(vocabulary: usize, count: usize) -> Result<Vec<u8>> {
    const SPECIAL: usize = 3;
    const SEED: u64 = 3;
    let entries = [("input_ids".to_owned(), TensorMeta::new(Dtype::I64, [count])?)];
    let (mut file, _) = Header::encode(&BTreeMap::new(), &entries)?;
    let mut generator = Generator::new(SEED);
    let id = |generator: &mut Generator| SPECIAL + generator.below(vocabulary - SPECIAL);
    (0..count).for_each(|_| file.extend((id(&mut generator) as u64).to_le_bytes()));
    Ok(file)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
