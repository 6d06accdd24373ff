//! From flags to a recipe: what goes together, and what is refused before any file is opened.

use crate::absent;
use crate::failure::Refusal;
use crate::flags::{self, CalibrationDtype, DataFlags, Eval, Group, Prune, Quantize};
use crate::vain;
use llmopt_pipeline::{
    Axis, Calibrate, CalibrationRequest, CalibrationSource, DenseDtype, EvaluationRequest, Format,
    Goal, GroupSize, KernelChoice, Method, MixedRecipe, PruneMethod, PruneRecipe, PruneRequest,
    Recipe, Resources, Runtime, Scheme, SourceError, Target,
};
use std::path::{Path, PathBuf};

/// What `quantize` was asked to do.
pub(crate) fn recipe(flags: &Quantize) -> Result<Recipe, Refusal> {
    let (name, scheme) = scheme(flags)?;
    let fixed = match name.as_str() {
        "w8a8" | "fp8" => Some("a scale per output channel"),
        "fp8-block" => Some("a scale per 128 x 128 block"),
        _ => None,
    };
    if let (Some(scales), Some(group)) = (fixed, flags.group_size)
        && !(group == Group::Channel && name != "fp8-block")
    {
        return Err(Refusal::new(
            format!("`--group-size` does not go with `--scheme {name}`, which has {scales}"),
            format!("group sizes are for {WEIGHTS_ALONE}"),
        ));
    }
    if asymmetric(flags) && fixed.is_some() {
        return Err(Refusal::new(
            format!("`--asymmetric` does not go with `--scheme {name}`, which has no zero points"),
            format!("zero points are for {WEIGHTS_ALONE}"),
        ));
    }
    let recipe = Recipe {
        group_size: match flags.group_size {
            None => GroupSize::Auto,
            Some(Group::Channel) => GroupSize::Channel,
            Some(Group::Columns(columns)) => GroupSize::Columns(columns),
        },
        method: method(flags)?,
        calibrate: calibrate(flags)?,
        smooth: flags.smooth,
        format: format(flags)?,
        runtimes: runtimes(&flags.runtime)?,
        tensor_parallel: flags.tp,
        include: flags.include.clone(),
        exclude: flags.exclude.clone(),
        embeddings: flags.embeddings,
        lm_head: flags.lm_head,
        allow_nonfinite: flags.allow_nonfinite,
        strict: flags.strict,
        ..Recipe::new(scheme)
    };
    vain::of_quantize(flags, &recipe)?;
    Ok(recipe)
}

/// What `quantize` was asked to do with mixed precision; none, if one scheme is asked for.
pub(crate) fn mixed(flags: &Quantize) -> Result<Option<MixedRecipe>, Refusal> {
    let size = flags.target_size.map(Goal::Size);
    let per_weight = flags.target_bpw.map(Goal::BitsPerWeight);
    let goal = size.or(per_weight).or(flags.max_kld.map(Goal::Kld));
    let Some(goal) = goal else { return Ok(None) };
    let widths = bits("--widths", &flags.widths)?;
    Ok(Some(MixedRecipe { goal, widths, recipe: recipe(flags)? }))
}

/// What `prune` was asked to do.
pub(crate) fn pruned(flags: &Prune, model: PathBuf) -> Result<PruneRequest, Refusal> {
    report(flags.report.as_deref())?;
    let method = match &flags.method {
        None => PruneMethod::Obs,
        Some(name) => {
            name.parse().map_err(|_| absent::value("--method", name, flags::PRUNE_METHODS, &[]))?
        }
    };
    let usual = [CalibrationSource::usual(&model).name()];
    let sources = if flags.calibrate.is_empty() { &usual[..] } else { &flags.calibrate };
    let kernel = flags.kernel.as_deref().map_or(Ok(KernelChoice::Auto), kernel)?;
    let calibrate = Calibrate {
        data: unchecked_data("--calibrate", sources, flags.data)?,
        sequential: true,
        held_out: false,
        precision: flags.dtype.unwrap_or(CalibrationDtype::Auto).precision(kernel),
        kernel,
    };
    let recipe = PruneRecipe {
        sparsity: flags.sparsity,
        axes: axes(&flags.axes)?,
        method,
        refit: !flags.no_refit,
        refine: if flags.no_refit { 0 } else { flags.refine.unwrap_or(USUAL_PASSES) },
        bias: flags.bias,
        align: flags.align,
        strict: flags.strict,
        calibrate,
        runtimes: runtimes(&flags.runtime)?,
    };
    vain::of_prune(flags, &recipe)?;
    let (output, scratch) = (flags.output.clone(), flags.scratch.clone());
    Ok(PruneRequest { model, output, force: flags.force, scratch, recipe })
}

/// The axes of `--axes`, each once; none, if the run is to choose.
fn axes(names: &[String]) -> Result<Vec<Axis>, Refusal> {
    let named = |name: &String| match name.as_str() {
        "ffn" => Ok(Axis::Ffn),
        "heads" => Ok(Axis::Heads),
        "layers" => Ok(Axis::Layers),
        _ => Err(absent::value("--axes", name, flags::AXES, absent::AXES)),
    };
    let mut axes = names.iter().map(named).collect::<Result<Vec<_>, _>>()?;
    axes.sort();
    axes.dedup();
    Ok(axes)
}

/// What `eval` was asked to do.
pub(crate) fn evaluation(flags: &Eval) -> Result<EvaluationRequest, Refusal> {
    vain::of_eval(flags)?;
    if let Some(path) = &flags.logits {
        folder_of("--logits", path)?;
    }
    Ok(EvaluationRequest {
        artifact: flags.artifact.clone(),
        against: flags.against.clone(),
        texts: flags.text.clone(),
        tasks: flags.tasks.clone(),
        window: flags.window,
        samples: flags.samples,
        max_samples: flags.max_samples,
        bos: flags.bos == Some(flags::Bos::Window),
        date: flags.date,
        precision: flags.compute.dtype.precision(),
        code_inputs: flags.compute.activations.codes(),
        kernel: kernel(&flags.compute.kernel)?,
        gates: flags.gate.clone(),
        baseline: flags.baseline.clone(),
        on_unsure: flags.on_unsure.map(Into::into).unwrap_or_default(),
        logits: flags.logits.clone(),
        scratch: flags.scratch.clone().unwrap_or_else(|| Path::new(".").to_owned()),
    })
}

/// Where the artifact goes.
pub(crate) fn target(flags: &Quantize, folder: Option<PathBuf>) -> Target {
    let (output, scratch) = (flags.output.clone(), flags.scratch.clone());
    Target { output, folder, force: flags.force, scratch }
}

/// What the run may use.
pub(crate) fn resources(memory: Option<u64>, threads: Option<usize>) -> Resources {
    let usual = Resources::default();
    Resources { memory: memory.unwrap_or(usual.memory), threads: threads.unwrap_or(usual.threads) }
}

/// Has the allocator keep nothing where a run that takes `peak` bytes has a bound that is near.
pub(crate) fn near_bound(peak: u64, resources: Resources) {
    if peak > resources.memory / 2 {
        llmopt_pipeline::keep_nothing_freed();
    }
}

/// The runtimes of `--runtime`, each once.
pub(crate) fn runtimes(names: &[String]) -> Result<Vec<Runtime>, Refusal> {
    let mut runtimes = Vec::new();
    for name in names {
        let runtime = Runtime::ALL.into_iter().find(|runtime| runtime.name() == name);
        let runtime =
            runtime.ok_or_else(|| absent::value("--runtime", name, flags::RUNTIMES, &[]))?;
        if !runtimes.contains(&runtime) {
            runtimes.push(runtime);
        }
    }
    Ok(runtimes)
}

/// The widths of `option`, each once.
pub(crate) fn bits(option: &str, names: &[String]) -> Result<Vec<u8>, Refusal> {
    let mut widths = Vec::new();
    for name in names {
        let known = flags::BITS.contains(&name.as_str()).then(|| name.parse().ok()).flatten();
        let width: u8 = known.ok_or_else(|| absent::value(option, name, flags::BITS, &[]))?;
        if !widths.contains(&width) {
            widths.push(width);
        }
    }
    Ok(widths)
}

/// Refuses a report that could not be written when the work is done.
pub(crate) fn report(path: Option<&Path>) -> Result<(), Refusal> {
    let Some(path) = path else { return Ok(()) };
    if path.extension().is_none_or(|ending| ending != "json") {
        return Err(Refusal::new(
            format!("`--report {}` does not end in `.json`", path.display()),
            "reports are JSON; other kinds are not in this version",
        ));
    }
    folder_of("--report", path)
}

/// Refuses a file of `option` in a folder that is not there.
pub(crate) fn folder_of(option: &str, path: &Path) -> Result<(), Refusal> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => Err(Refusal::new(
            format!("`{option} {}`: there is no folder `{}`", path.display(), folder.display()),
            "make the folder first",
        )),
        _ => Ok(()),
    }
}

fn scheme(flags: &Quantize) -> Result<(String, Scheme), Refusal> {
    let from_bits = match flags.bits.as_deref() {
        Some(bits) if !flags::BITS.contains(&bits) => {
            return Err(absent::value("--bits", bits, flags::BITS, &[]));
        }
        bits => bits.map(|bits| format!("w{bits}a16")),
    };
    let name = match (&flags.scheme, from_bits) {
        (Some(scheme), Some(from_bits)) if preset(scheme) != from_bits => {
            return Err(Refusal::new(
                format!("`--bits` means `--scheme {from_bits}` here, not `--scheme {scheme}`"),
                "give one of the two",
            ));
        }
        (Some(scheme), _) => preset(scheme).to_owned(),
        (None, from_bits) => from_bits.unwrap_or_else(|| "w8a16".to_owned()),
    };
    match Scheme::preset(&name) {
        Ok(scheme) => Ok((name, Scheme { symmetric: !asymmetric(flags), ..scheme })),
        Err(_) => Err(absent::value("--scheme", &name, flags::SCHEMES, absent::SCHEMES)),
    }
}

/// Our name of a scheme that the presets of compressed-tensors call otherwise.
fn preset(name: &str) -> &str {
    match name {
        "fp8_dynamic" | "fp8-dynamic" => "fp8",
        "fp8_block" => "fp8-block",
        _ => name.strip_suffix("_asym").unwrap_or(name),
    }
}

fn asymmetric(flags: &Quantize) -> bool {
    flags.asymmetric || flags.scheme.as_ref().is_some_and(|name| name.ends_with("_asym"))
}

fn method(flags: &Quantize) -> Result<Method, Refusal> {
    let name = match &flags.method {
        Some(name) => name,
        None if flags.calibrate.is_empty() => return Ok(Method::Search),
        None => return Ok(Method::Auto),
    };
    name.parse().map_err(|_| absent::value("--method", name, flags::METHODS, absent::METHODS))
}

/// What the model is observed on, if at all.
fn calibrate(flags: &Quantize) -> Result<Option<Calibrate>, Refusal> {
    if flags.calibrate.is_empty() {
        return Ok(None);
    }
    let kernel = flags.kernel.as_deref().map_or(Ok(KernelChoice::Auto), kernel)?;
    Ok(Some(Calibrate {
        data: data("--calibrate", &flags.calibrate, flags.data)?,
        sequential: !flags.whole_block,
        held_out: false,
        precision: flags.dtype.unwrap_or(CalibrationDtype::Auto).precision(kernel),
        kernel,
    }))
}

/// Data from the sources of `option`, with options that do something.
pub(crate) fn data(
    option: &str,
    sources: &[String],
    flags: DataFlags,
) -> Result<CalibrationRequest, Refusal> {
    let data = unchecked_data(option, sources, flags)?;
    vain::of_data(flags, &data.sources)?;
    Ok(data)
}

/// The same, whatever the options do.
pub(crate) fn unchecked_data(
    option: &str,
    sources: &[String],
    flags: DataFlags,
) -> Result<CalibrationRequest, Refusal> {
    let source = |text: &String| {
        let source: Result<CalibrationSource, SourceError> = text.parse();
        source.map_err(|error| Refusal::new(format!("`{option} {text}`: {error}"), SOURCES))
    };
    let sources = sources.iter().map(source).collect::<Result<Vec<_>, _>>()?;
    let usual = CalibrationRequest::new(sources);
    Ok(CalibrationRequest {
        samples: flags.samples.unwrap_or(usual.samples),
        window: flags.window,
        bos: flags.bos == Some(flags::Bos::Window),
        date: flags.date,
        seed: flags.seed.unwrap_or(usual.seed),
        ..usual
    })
}

fn format(flags: &Quantize) -> Result<Format, Refusal> {
    match (flags.format.as_str(), flags.dense_dtype) {
        ("compressed-tensors", None) => Ok(Format::CompressedTensors),
        ("compressed-tensors", Some(_)) => {
            Err(Refusal::new("`--dense-dtype` needs `--format dense`", "add it, or leave both out"))
        }
        ("dense", Some(flags::DenseDtype::Source)) => Ok(Format::Dense(DenseDtype::Source)),
        ("dense", _) => Ok(Format::Dense(DenseDtype::F32)),
        (name, _) => Err(absent::value("--format", name, flags::FORMATS, absent::FORMATS)),
    }
}

/// Schemes of integer weights alone.
const WEIGHTS_ALONE: &str = "`w8a16` to `w2a16`";

const SOURCES: &str = "a file, `builtin`, `self`, or any with its weight: `chat.jsonl:0.7`";
/// Of `--refine`.
const USUAL_PASSES: usize = 5;

/// The kernel of this name.
pub(crate) fn kernel(name: &str) -> Result<KernelChoice, Refusal> {
    name.parse().map_err(|_| absent::value("--kernel", name, flags::KERNELS, &[]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{Command, Flags};
    use clap::Parser;

    fn requested(flags: &str) -> Quantize {
        let args = ["llmopt", "quantize", "model"].into_iter().chain(flags.split_whitespace());
        match Flags::try_parse_from(args).expect("known flags").command {
            Command::Quantize(quantize) => *quantize,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_become_a_recipe() {
        let check = |flags: &str, expected: &str| {
            let recipe = recipe(&requested(flags)).expect(flags);
            let text = format!(
                "{} {:?} {:?} {:?}",
                recipe.scheme, recipe.group_size, recipe.method, recipe.format
            );
            assert_eq!(text, expected, "{flags}");
        };
        check("", "w8a16 Auto Search CompressedTensors");
        check("--bits 4 --group-size 64", "w4a16 g128 Columns(64) Search CompressedTensors");
        check("--bits 4 --group-size -1", "w4a16 g128 Channel Search CompressedTensors");
        check("--bits 4 --scheme w4a16", "w4a16 g128 Auto Search CompressedTensors");
        check("--bits 3 --asymmetric", "w3a16 g128 asymmetric Auto Search CompressedTensors");
        check("--scheme w2a16 --group-size 32", "w2a16 g128 Columns(32) Search CompressedTensors");
        check("--scheme w8a8 --group-size channel", "w8a8 Channel Search CompressedTensors");
        check("--scheme W4A16", "w4a16 g128 Auto Search CompressedTensors");
        check("--scheme W4A16_ASYM", "w4a16 g128 asymmetric Auto Search CompressedTensors");
        check(
            "--bits 4 --scheme W4A16_ASYM",
            "w4a16 g128 asymmetric Auto Search CompressedTensors",
        );
        check("--scheme FP8_DYNAMIC --method RTN", "fp8 Auto Rtn CompressedTensors");
        check("--scheme FP8_BLOCK", "fp8-block Auto Search CompressedTensors");
        check("--asymmetric --method rtn", "w8a16 asymmetric Auto Rtn CompressedTensors");
        check("--scheme fp8-block --format dense", "fp8-block Auto Search Dense(F32)");
        check("--format dense --dense-dtype source", "w8a16 Auto Search Dense(Source)");
    }

    #[test]
    fn runtimes_are_a_list_without_repetition() {
        let named = |flags: &str| runtimes(&requested(flags).runtime).expect(flags);
        assert_eq!(named(""), [Runtime::Transformers, Runtime::Vllm]);
        assert_eq!(named("--runtime mlx,vllm,mlx"), [Runtime::Mlx, Runtime::Vllm]);
    }

    #[test]
    fn resources_are_those_asked_for() {
        let flags = requested("--memory 1GiB --threads 3");
        let resources = resources(flags.memory, flags.threads);
        assert_eq!((resources.memory, resources.threads), (1 << 30, 3));
    }
}
