//! Headers bound to an architecture, and how a checkpoint is quantized already.

use crate::quantized::by_names;
use crate::wrapped;
use llmopt_arch::Model;
use llmopt_checkpoint::Source;
use llmopt_run::Error;

/// The place of the quantization config, in `config.json` and in a bare file's metadata.
pub const QUANTIZATION_CONFIG: &str = "quantization_config";

/// Headers bound to an architecture.
///
/// # Errors
/// If the tensors are not the model that the config describes.
pub fn bound(source: &Source) -> Result<Model, Error> {
    let metas = source.shards().iter().flat_map(|shard| shard.header.tensors());
    let metas = metas.map(|entry| (entry.name.clone(), entry.meta.clone())).collect();
    Model::bind(source.config().map(|config| config.as_map()), &metas).map_err(|error| {
        let error = wrapped::explained(error, source);
        let shard = error.tensor().and_then(|tensor| source.entry(tensor)).map(|(shard, _)| shard);
        Error::Bind { file: shard.map(|shard| shard.name.clone()), error: Box::new(error) }
    })
}

/// Refuses what is quantized already, except in a way that is dequantized on the way.
///
/// # Errors
/// What it is quantized by.
pub fn refuse_quantized(source: &Source) -> Result<(), Error> {
    let Some(method) = quantization_method(source) else { return Ok(()) };
    if method == "fp8" {
        return Ok(());
    }
    let told = match (configured_method(source), by_names(source)) {
        (None, Some((_, tensor))) => {
            format!("\n  no `quantization_config` says so, but tensor `{tensor}` does")
        }
        _ => String::new(),
    };
    Err(Error::Input {
        what: format!(
            "the checkpoint is quantized already, by `{method}`, expected F32, F16 or BF16 weights\
             {told}"
        ),
        hint: Some(
            "start from the original checkpoint: quantizing twice adds up both losses".to_owned(),
        ),
    })
}

/// The `quant_method` of a checkpoint that is quantized already, by its config or its tensors' names.
pub fn quantization_method(source: &Source) -> Option<String> {
    configured_method(source).or_else(|| Some(by_names(source)?.0.to_owned()))
}

fn configured_method(source: &Source) -> Option<String> {
    let keys = ["quantization_config", "text_config.quantization_config", "quantization"];
    let named = |config: &serde_json::Value| {
        let method = config.get("quant_method").and_then(|method| method.as_str());
        method.unwrap_or("an unnamed method").to_owned()
    };
    if let Some(config) = source.config() {
        return keys
            .iter()
            .find_map(|key| config.get(key))
            .filter(|found| !found.is_null())
            .map(named);
    }
    let metadata = source
        .shards()
        .iter()
        .find_map(|shard| shard.header.metadata().get(QUANTIZATION_CONFIG))?;
    Some(
        serde_json::from_str(metadata)
            .map_or_else(|_| "an unnamed method".to_owned(), |c| named(&c)),
    )
}
