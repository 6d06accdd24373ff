//! A recipe to begin with: for a model, and for what is to become of it.

use crate::flags::Purpose;
use crate::units;
use llmopt_pipeline::Inspection;
use std::fmt::Write;

/// The text of a recipe for `model`, which lies at `path`.
pub(crate) fn starter(path: &str, model: &Inspection, purpose: Purpose) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "# {} parameters, {}. `llmopt run` in this folder does what follows;\n\
         # `llmopt run --dry-run` says what that would be. All keys: `llmopt recipe schema`.\n",
        units::count(model.parameters),
        units::bytes(model.bytes),
    );
    let _ = writeln!(text, "model = {}", quoted(path));
    let _ = writeln!(
        text,
        "# output = \"deploy\"         # the model's name with the scheme appended, if left out"
    );
    let _ = writeln!(
        text,
        "# memory = \"8GiB\"           # hard bound; 80 % of what is available, if left out\n"
    );
    text += CALIBRATE;
    text += match purpose {
        Purpose::Server => SERVER,
        Purpose::Desktop => DESKTOP,
        Purpose::Edge => EDGE,
    };
    text += EVAL;
    text
}

/// A TOML string.
fn quoted(text: &str) -> String {
    llmopt_recipe::Value::Text(text.to_owned()).to_toml()
}

const CALIBRATE: &str = "\
[calibrate]
data = \"builtin\"            # better: a text like those that the model will see, such as \"chat.jsonl\"
samples = 128
window = 512

";

const SERVER: &str = "\
[[stage]]
smooth = {}                 # move the range of inputs into weights; { strength = 0.5 } fixes how far

[[stage]]
quantize = { scheme = \"w8a8\", method = \"gptq\" }

";

const DESKTOP: &str = "\
[[stage]]
quantize = { bits = 4, method = \"qep+cd\" }   # \"gptq\" is quicker; \"auto\" tries several

";

const EDGE: &str = "\
[[stage]]
prune = { sparsity = 0.2, axes = [\"ffn\"] }

[[stage]]
quantize = { bits = 4, method = \"qep+cd\" }

";

const EVAL: &str = "\
# Text that calibration has not seen, and bounds that must hold: `llmopt run` exits with 1 where one is missed.
# [eval]
# text = { chat = \"heldout.jsonl\" }
# gates = [\"kld <= 0.05\", \"top1 >= 92%\"]

# [report]
# files = [\"report.md\", \"report.html\"]
";
