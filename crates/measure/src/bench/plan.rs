//! What is run, once it is known that it can be.

use crate::bench::bandwidth::{self, Readings};
use crate::bench::prompts::prompts;
use crate::bench::request::BenchRequest;
use crate::compute::check_code_inputs;
use crate::generation::{Loaded, cache_bytes, fixed_bytes};
use llmopt_forward::{Engine, State};
use llmopt_model::Variant;
use llmopt_run::{Cancel, Error, Resources, base_bytes};

/// A request that can be carried out.
pub(super) struct Plan<'a> {
    pub(super) request: &'a BenchRequest,
    pub(super) engine: &'a Engine,
    pub(super) resources: Resources,
    /// The model and, where there is one, its original.
    pub(super) variants: Vec<Variant>,
    /// Each once, the smallest first.
    pub(super) batches: Vec<usize>,
    /// As many as the largest batch takes; smaller ones take the first.
    pub(super) prompts: Vec<Vec<u32>>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(
        request: &'a BenchRequest,
        engine: &'a Engine,
        resources: Resources,
    ) -> Result<Self, Error> {
        let batches = batches(request)?;
        let paths = [Some(&request.model), request.against.as_ref()];
        let variants = paths.into_iter().flatten().map(|path| Variant::open(path));
        let variants = variants.collect::<Result<Vec<_>, _>>()?;
        check_code_inputs(engine.gemm(), &variants.iter().collect::<Vec<_>>())?;
        let vocabulary = vocabulary(&variants)?;
        variants.iter().try_for_each(|variant| check_context(request, variant))?;
        let largest = batches.last().copied().unwrap_or(0);
        let prompts = prompts(request.seed, largest, request.prompt, vocabulary);
        let plan = Self { request, engine, resources, variants, batches, prompts };
        plan.check_memory()?;
        Ok(plan)
    }

    /// Refuses what does not fit: all models, the keys and values of the largest batch, and the longest step.
    fn check_memory(&self) -> Result<(), Error> {
        let (prompt, sequences) = (self.request.prompt, self.prompts.len());
        let longest = prompt + self.request.tokens;
        let needed = |variant: &Variant| {
            let program = variant.program();
            let outgrown = State::outgrown(program, prompt, longest);
            let rows = sequences * if outgrown { longest } else { prompt };
            let threads = self.resources.threads;
            let fixed = fixed_bytes(variant, self.engine, rows, sequences, threads)?;
            let cache = sequences as u64 * cache_bytes(program, longest);
            // The program is there once.
            Ok::<u64, Error>(fixed + cache - base_bytes(0, 0))
        };
        let models = self.variants.iter().map(needed).sum::<Result<u64, Error>>()?;
        let (given, smallest) = (self.resources.memory, base_bytes(0, 0) + models);
        if smallest > given { Err(Error::Budget { given, smallest }) } else { Ok(()) }
    }

    /// Reads a model into memory.
    pub(super) fn loaded<'v>(&'v self, variant: &'v Variant) -> Result<Loaded<'v>, Error> {
        Loaded::read(variant, self.engine)
    }

    /// How fast memory is read, with no model in it.
    pub(super) fn bandwidth(&self, cancel: &Cancel) -> Result<Readings, Error> {
        let free = self.resources.memory.saturating_sub(base_bytes(0, 0));
        Readings::take(bandwidth::buffer_bytes(free), cancel)
    }

    /// Bytes of the weight files of all models.
    pub(super) fn files_bytes(&self) -> u64 {
        self.variants.iter().map(Self::file_bytes).sum()
    }

    /// Bytes of the weight files of a model.
    pub(super) fn file_bytes(variant: &Variant) -> u64 {
        variant.source().shards().iter().map(|shard| shard.bytes).sum()
    }
}

/// The batches asked for, each once, the smallest first.
fn batches(request: &BenchRequest) -> Result<Vec<usize>, Error> {
    let mut batches = request.batches.clone();
    batches.sort_unstable();
    batches.dedup();
    let smallest = batches.first().copied().unwrap_or(0);
    if smallest == 0 || request.prompt == 0 || request.tokens == 0 || request.runs == 0 {
        return Err(Error::RefusedWithHint {
            what: "there is nothing to run".to_owned(),
            hint: "batches, tokens of a prompt, tokens to decode and runs are at least one"
                .to_owned(),
        });
    }
    Ok(batches)
}

/// The vocabulary that all models have.
fn vocabulary(variants: &[Variant]) -> Result<usize, Error> {
    let of = |variant: &Variant| variant.program().vocabulary;
    if let [model, original] = variants
        && of(model) != of(original)
    {
        return Err(Error::RefusedWithHint {
            what: format!(
                "`{}` has a vocabulary of {} tokens, `{}` one of {}: no prompt is for both",
                model.name(),
                of(model),
                original.name(),
                of(original)
            ),
            hint: "`--against` names the model that the artifact was made from".to_owned(),
        });
    }
    Ok(variants.first().map_or(0, of))
}

fn check_context(request: &BenchRequest, variant: &Variant) -> Result<(), Error> {
    let context = variant.program().context.unwrap_or(usize::MAX);
    if request.prompt.saturating_add(request.tokens) <= context {
        return Ok(());
    }
    Err(Error::RefusedWithHint {
        what: format!(
            "a prompt of {} tokens and {} more are beyond the context of `{}`, which is {context}",
            request.prompt,
            request.tokens,
            variant.name()
        ),
        hint: "`--prompt` and `--tokens` take fewer".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use llmopt_linalg::{InputCodes, KernelChoice, Precision};

    fn request(batches: &[usize]) -> BenchRequest {
        BenchRequest {
            model: "model".into(),
            against: None,
            batches: batches.to_vec(),
            prompt: 4,
            tokens: 2,
            runs: 1,
            seed: 0,
            precision: Precision::F32,
            code_inputs: InputCodes::Int16,
            kernel: KernelChoice::Auto,
        }
    }

    #[test]
    fn batches_come_once_and_in_order() {
        assert_eq!(batches(&request(&[8, 1, 4, 1])).expect("batches"), [1, 4, 8]);
    }

    #[test]
    fn what_is_nothing_is_not_run() {
        let none = [
            request(&[]),
            request(&[2, 0]),
            BenchRequest { prompt: 0, ..request(&[1]) },
            BenchRequest { tokens: 0, ..request(&[1]) },
            BenchRequest { runs: 0, ..request(&[1]) },
        ];
        for request in none {
            let refused = batches(&request).map_err(|error| error.to_string());
            assert_eq!(refused, Err("there is nothing to run".to_owned()), "{request:?}");
        }
    }
}
