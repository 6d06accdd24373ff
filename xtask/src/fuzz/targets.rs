//! What is fuzzed, from which inputs, and what must hold of an input that is accepted.

use crate::repository::root;
use anyhow::{Context, Result};
use llmopt_arch::Model;
use llmopt_checkpoint::{Config, Header, Index};
use llmopt_codec::QuantizationConfig;
use llmopt_scheme::{Granularity, Scheme};
use llmopt_tensor::{Dtype, TensorMeta};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// A parser and inputs that it accepts. An input may have several parts.
pub(super) struct Target {
    pub(super) name: &'static str,
    pub(super) seeds: Vec<Vec<Vec<u8>>>,
    pub(super) run: fn(&[Vec<u8>]),
}

pub(super) fn all() -> Result<Vec<Target>> {
    let models = models()?;
    let headers = models.iter().map(|model| vec![model.header.clone(), model.data.clone()]);
    let configs = models.iter().map(|model| vec![model.config.clone()]);
    let pairs = models.iter().map(|model| vec![model.config.clone(), model.header.clone()]);
    Ok(vec![
        Target { name: "header", seeds: headers.collect(), run: header },
        Target { name: "index", seeds: models.iter().map(index_of).collect(), run: index },
        Target { name: "config", seeds: configs.collect(), run: config },
        Target { name: "bind", seeds: pairs.collect(), run: bind },
        Target { name: "quantization", seeds: quantizations()?, run: quantization },
        Target { name: "recipe", seeds: recipes()?, run: recipe },
    ])
}

/// The texts of a model folder in `testdata`.
struct Folder {
    config: Vec<u8>,
    header: Vec<u8>,
    /// Bytes after the header, in decimal.
    data: Vec<u8>,
}

fn models() -> Result<Vec<Folder>> {
    let mut folders = vec![root().join("testdata/tiny-llama")];
    for entry in fs::read_dir(root().join("testdata/families"))? {
        folders.push(entry?.path());
    }
    folders.sort();
    let weights = |folder: &PathBuf| folder.join("model.safetensors").exists();
    folders.iter().filter(|folder| weights(folder)).map(|folder| model(folder)).collect()
}

fn model(folder: &Path) -> Result<Folder> {
    let config = fs::read(folder.join("config.json"))?;
    let mut file = fs::File::open(folder.join("model.safetensors"))?;
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    let mut header = Vec::new();
    file.by_ref().take(length).read_to_end(&mut header)?;
    let data = file.metadata()?.len().checked_sub(8 + length).context("testdata is whole")?;
    Ok(Folder { config, header, data: data.to_string().into_bytes() })
}

/// The recipes of the pages, with an override each.
fn recipes() -> Result<Vec<Vec<Vec<u8>>>> {
    let page = fs::read_to_string(root().join("docs/ci.md"))?;
    let recipes = page.split("<<'TOML'\n").skip(1).filter_map(|rest| rest.split("\nTOML\n").next());
    let sets = ["stage.0.sparsity=0.3", "stage.quantize.bits=4", "eval.text.code=\"a.txt\""];
    let seeds = recipes.flat_map(|recipe| sets.map(|set| vec![recipe.into(), set.into()]));
    Ok(seeds.collect())
}

/// Whatever is refused has a place in the file or is an override, and what is read is written as it was.
fn recipe(parts: &[Vec<u8>]) {
    let [text, set] = [0, 1].map(|part| parts.get(part).map(Vec::as_slice).unwrap_or_default());
    let (Ok(text), Ok(set)) = (std::str::from_utf8(text), std::str::from_utf8(set)) else { return };
    static CATALOG: LazyLock<llmopt_recipe::Section> = LazyLock::new(llmopt::recipe_catalog);
    for sets in [&[][..], &[set.to_owned()]] {
        match llmopt_recipe::read(text, sets, &CATALOG) {
            Ok(recipe) => assert!(recipe.get("model").is_some(), "a required key"),
            Err(problem) => match problem.position {
                llmopt_recipe::Position::File { line, column } => {
                    assert!(line > 0 && column > 0 && line <= text.lines().count() + 1, "a place");
                }
                llmopt_recipe::Position::Override(found) => assert_eq!(found, set),
            },
        }
    }
}

/// An index as it would be if the model's tensors lay in two shards by turns.
fn index_of(model: &Folder) -> Vec<Vec<u8>> {
    let names = metas(&model.header).unwrap_or_default().into_keys().enumerate();
    let file = |number: usize| format!("model-{:05}-of-00002.safetensors", number % 2 + 1);
    let map: BTreeMap<String, String> = names.map(|(i, name)| (name, file(i))).collect();
    let text = serde_json::json!({ "metadata": { "total_size": 123 }, "weight_map": map });
    vec![text.to_string().into_bytes()]
}

fn quantizations() -> Result<Vec<Vec<Vec<u8>>>> {
    let head = vec!["lm_head".to_owned(), r"re:.*mlp\.gate$".to_owned()];
    let linear = vec!["Linear".to_owned()];
    let mut schemes = Vec::new();
    for name in Scheme::NAMES {
        schemes.push(Scheme::preset(name)?);
    }
    let four = Scheme::preset("w4a16")?;
    schemes.push(Scheme { symmetric: false, granularity: Granularity::Group(32), ..four });
    let mut groups: Vec<_> = schemes.iter().map(|scheme| vec![(linear.clone(), *scheme)]).collect();
    let exact = vec!["model.layers.0.mlp.down_proj".to_owned(), "re:.*v_proj".to_owned()];
    groups.push(vec![(exact, schemes[0]), (linear, four)]);
    let config = |groups| Ok(QuantizationConfig::new(groups, head.clone())?.to_json());
    let texts = groups.into_iter().map(|groups| config(groups).map(|json| json.to_string()));
    texts.map(|text| text.map(|text| vec![text.into_bytes()])).collect()
}

/// What is accepted tiles the data, and comes back the same from what we would write.
fn header(parts: &[Vec<u8>]) {
    let [json, data] = parts else { return };
    let data = std::str::from_utf8(data).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0);
    let Ok(header) = Header::parse(json, data) else { return };
    let end = header.tensors().iter().fold(0, |end, tensor| {
        assert_eq!(tensor.begin, end, "`{}` does not begin where the one before ends", tensor.name);
        tensor.end()
    });
    assert_eq!(end, data, "the tensors do not end with the data");
    let tensors: Vec<_> =
        header.tensors().iter().map(|tensor| (tensor.name.clone(), tensor.meta.clone())).collect();
    let (bytes, _) =
        Header::encode(header.metadata(), &tensors).expect("what was read can be written");
    let again = Header::parse(&bytes[8..], data).expect("what was written can be read");
    assert_eq!(again.metadata(), header.metadata());
    assert_eq!(again.tensors().len(), header.tensors().len());
}

fn index(parts: &[Vec<u8>]) {
    if let Ok(index) = Index::parse(&parts[0]) {
        assert!(index.weight_map().keys().all(|name| name.len() <= parts[0].len()));
    }
}

/// What is accepted comes back the same from what we would write.
fn config(parts: &[Vec<u8>]) {
    let Ok(config) = Config::parse(&parts[0]) else { return };
    let _ = (config.usize_at("hidden_size"), config.str_at("text_config.model_type"));
    let again = Config::parse(&config.to_bytes()).expect("what was written can be read");
    assert_eq!(again.as_map(), config.as_map());
}

/// Every tensor gets its role, and what is quantizable is a tensor.
fn bind(parts: &[Vec<u8>]) {
    let [config, header] = parts else { return };
    let (Ok(config), Some(tensors)) = (Config::parse(config), metas(header)) else { return };
    let Ok(model) = Model::bind(Some(config.as_map()), &tensors) else { return };
    assert_eq!(model.tensors().len(), tensors.len(), "a tensor was lost");
    for site in model.linear_weights().iter().chain(model.optional_linear_weights()) {
        assert!(tensors.contains_key(&site.tensor), "`{}` is no tensor", site.tensor);
    }
}

/// Tensors of a header, whatever its offsets are.
fn metas(header: &[u8]) -> Option<BTreeMap<String, TensorMeta>> {
    let json: Value = serde_json::from_slice(header).ok()?;
    let tensors = json.as_object()?.iter().filter(|(name, _)| *name != "__metadata__");
    let meta = |tensor: &Value| {
        let dtype = Dtype::from_name(tensor["dtype"].as_str()?)?;
        let axis = |axis: &Value| axis.as_u64().and_then(|axis| usize::try_from(axis).ok());
        let shape: Vec<usize> =
            tensor["shape"].as_array()?.iter().map(axis).collect::<Option<_>>()?;
        TensorMeta::new(dtype, shape).ok()
    };
    tensors.map(|(name, tensor)| Some((name.clone(), meta(tensor)?))).collect()
}

/// What is accepted comes back the same from what we would write.
fn quantization(parts: &[Vec<u8>]) {
    let Ok(json) = serde_json::from_slice::<Value>(&parts[0]) else { return };
    let _ = llmopt_codec::lint(&json);
    let Ok(config) = QuantizationConfig::parse(&json) else { return };
    for module in ["model.layers.0.mlp.down_proj", "lm_head", "", "model.layers.1.self_attn.v_proj"]
    {
        let _ = config.scheme_of(module);
    }
    let again = QuantizationConfig::parse(&config.to_json()).expect("what was written can be read");
    assert_eq!(again.groups(), config.groups());
    assert_eq!(again.ignore(), config.ignore());
}
