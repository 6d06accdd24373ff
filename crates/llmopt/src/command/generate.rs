//! `llmopt generate`: prompts, and how the model goes on.

use crate::failure::Failure;
use crate::flags::Generate;
use crate::progress::Progress;
use crate::{print, request, signal, vain};
use llmopt_pipeline::{Generated, GenerationRequest};

pub(super) fn run(flags: &Generate) -> Result<(), Failure> {
    let console = flags.console.console(flags.quiet.quiet);
    vain::of_generate(flags)?;
    let request = GenerationRequest {
        model: flags.model.clone(),
        prompts: flags.prompts.clone(),
        chat: flags.chat,
        tokens: flags.tokens,
        temperature: flags.temperature,
        seed: flags.seed.unwrap_or(0),
        date: flags.date,
        precision: flags.compute.dtype.precision(),
        code_inputs: flags.compute.activations.codes(),
        kernel: request::kernel(&flags.compute.kernel)?,
    };
    let progress = Progress::begin(console, None);
    signal::watch(&progress, "stopping");
    let resources = request::resources(flags.memory, flags.compute.threads);
    let generated = llmopt_pipeline::generate(&request, resources, &signal::CANCEL)?;
    if console.json { print::json(&generated) } else { print::data(&render(&generated)) }
}

/// Each prompt and what followed it, an empty line between two.
fn render(generated: &[Generated]) -> String {
    let one = |generated: &Generated| format!("{}{}\n", generated.prompt, generated.text);
    generated.iter().map(one).collect::<Vec<_>>().join("\n")
}
