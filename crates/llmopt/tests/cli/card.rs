//! Model cards: printed, written into artifacts that stay sound, and true about how to make them again.

use crate::dir::Dir;
use serde_json::Value;

/// An artifact of four bits, and what it lost.
fn measured() -> Dir {
    let dir = Dir::with_tiny_llama();
    dir.done("quantize tiny-llama --bits 4 -q -o w4");
    let eval = "eval w4 --against tiny-llama --text tiny-llama/evaluation.txt --window 64 --samples 4 --json";
    let ran = dir.run(&format!("{eval} --gate kld<=0.0001 --gate size<=2MB"));
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    dir.write("ev.json", ran.stdout.as_bytes());
    dir
}

#[test]
fn a_card_tells_what_was_measured_with_the_missed_gate_at_the_top() {
    let dir = measured();
    let before = dir.tree("w4");
    let card = dir.done("card w4 --evaluation ev.json --base-model some/tiny-llama").stdout;
    assert_eq!(dir.tree("w4"), before, "printing changes nothing");
    let begin = "---\nbase_model: some/tiny-llama\nbase_model_relation: quantized\nlibrary_name: transformers\n\
                 pipeline_tag: text-generation\ntags:\n- llmopt\n- compressed-tensors\n- int4\n- w4a16\n---\n\n\
                 # w4\n\n<!-- llmopt -->\n\n## Made with llmopt\n\n> **1 of 2 gates missed**: `kld <= 0.0001` (found ";
    assert!(card.starts_with(begin), "{card}");
    let evaluation = dir.json("ev.json");
    let kld = &evaluation["comparison"]["kld"]["mean"];
    assert!(kld["low"].as_f64() < kld["value"].as_f64(), "{kld}");
    let row = card.lines().find(|line| line.contains("KL divergence, mean")).unwrap();
    assert!(row.starts_with("| `evaluation.txt` | ") && row.contains(" to "), "{row}");
    assert!(card.contains("\nvllm serve w4\n"), "{card}");
}

#[test]
fn a_written_card_is_listed_and_the_artifact_stays_sound() {
    let dir = measured();
    dir.write("w4/README.md", b"---\nlicense: mit\n---\n# Tiny Llama\n");
    let write = "card w4 --evaluation ev.json --write";
    dir.done(write);
    let first = dir.tree("w4");
    let card = String::from_utf8(first["w4/README.md"].clone()).unwrap();
    // The evaluation names the original's folder.
    let begin = "---\nlicense: mit\nbase_model: tiny-llama\n";
    assert!(card.starts_with(begin) && card.contains("\n# Tiny Llama\n"), "{card}");
    let outputs = &dir.json("w4/llmopt.json")["outputs"];
    assert_eq!(outputs["README.md"]["bytes"], card.len());
    dir.done("verify w4 --against tiny-llama -q");
    dir.done(write);
    assert_eq!(dir.tree("w4"), first, "twice");
    assert_eq!(dir.names(), ["ev.json", "tiny-llama", "w4"]);
    // A file of its own, and what is refused.
    dir.done("card w4 -o card.md -q");
    assert!(String::from_utf8(dir.read("card.md")).unwrap().contains("Nothing was measured"));
    dir.refused(
        "card w4 --base-model ./tiny-llama",
        2,
        "error: `--base-model ./tiny-llama` is no name of a model on the Hugging Face hub\n\nhint: it is \
         `owner/name`, as in `meta-llama/Llama-3.1-8B`\n",
    );
    let ran = dir.run("card tiny-llama");
    assert_eq!(ran.code, Some(3));
    assert!(
        ran.stderr
            .starts_with("error: `tiny-llama` was expected to be a folder with a `llmopt.json`")
    );
    let ran = dir.run("card w4 --evaluation w4/llmopt.json");
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.starts_with("error: `w4/llmopt.json` is no evaluation: "), "{}", ran.stderr);
}

/// Makes an artifact, takes the command from its card, and makes it again by that.
#[track_caller]
fn check_again(args: &str) {
    let dir = Dir::with_tiny_llama();
    dir.write("my text.txt", &dir.read("tiny-llama/calibration.txt"));
    dir.write("text.txt", &dir.read("tiny-llama/evaluation.txt"));
    let words: Vec<&str> = args.split_whitespace().collect();
    let spaced = |word: &&str| word.replace('%', " ");
    let ran =
        dir.command("").args(words.iter().map(spaced)).args(["-q", "-o", "out"]).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let first = (dir.read("out/model.safetensors"), dir.read("out/llmopt.json"));
    let card = dir.done("card out").stdout;
    let command = card
        .lines()
        .find(|line| line.starts_with("llmopt quantize ") || line.starts_with("llmopt prune "));
    let command = command.unwrap_or_else(|| panic!("{card}")).replace(" MODEL ", " tiny-llama ");
    dir.remove("out");
    let ran = std::process::Command::new("sh")
        .args(["-c", &command.replacen("llmopt ", "\"$0\" ", 1), env!("CARGO_BIN_EXE_llmopt")])
        .current_dir(dir.path(""))
        .output()
        .unwrap();
    assert!(ran.status.success(), "{command}\n{}", String::from_utf8_lossy(&ran.stderr));
    assert!(dir.read("out/model.safetensors") == first.0, "{command}");
    // Where `rtn` was the best, the command asks for it, and nothing is left to be decided.
    let record = |bytes: &[u8]| {
        let mut record: Value = serde_json::from_slice(bytes).unwrap();
        if record["decision"]["chosen"] == "rtn" {
            record.as_object_mut().unwrap().remove("decision");
        }
        record
    };
    assert!(record(&dir.read("out/llmopt.json")) == record(&first.1), "{command}");
}

rows! {
    /// The command of a card makes the artifact again, record included.
    the_command_of_a_card_makes_the_artifact_again = check_again;
    plain("quantize tiny-llama")
    groups("quantize tiny-llama --bits 4 --group-size 32 --asymmetric --exclude *.o_proj --method rtn")
    activations("quantize tiny-llama --scheme fp8 --runtime vllm --tp 2 --lm-head")
    best_without("quantize tiny-llama --bits 3 --calibrate my%text.txt --samples 8 --window 32 --dtype f32")
    dense("quantize tiny-llama --scheme fp8-block --format dense --dense-dtype source")
    calibrated("quantize tiny-llama --bits 3 --calibrate my%text.txt:0.25 --calibrate text.txt --samples 40 --window 64 --dtype f32")
    drawn("quantize tiny-llama --bits 4 --calibrate self --seed 3 --samples 4 --window 32 --method gptq --whole-block --smooth")
    axes("prune tiny-llama --sparsity 0.3 --axes ffn --no-refit --method magnitude --align 16")
    mixes("prune tiny-llama --sparsity 0.25 --calibrate text.txt --samples 16 --window 64 --refine 1 --bos none")
}

#[test]
fn the_commands_of_a_card_make_a_pruned_and_quantized_model_again() {
    let dir = Dir::with_tiny_llama();
    dir.write("text.txt", &dir.read("tiny-llama/evaluation.txt"));
    let data = "--calibrate text.txt --samples 16 --window 64 --dtype f32 -q";
    dir.done(&format!("prune tiny-llama --sparsity 0.2 --axes ffn --refine 0 -o pruned {data}"));
    dir.done(&format!("quantize pruned --bits 4 --method gptq -o out {data}"));
    let first = dir.tree("out");
    let card = dir.done("card out").stdout;
    assert!(card.contains("pruned and quantized by `llmopt "), "{card}");
    let commands: Vec<String> = card
        .lines()
        .filter(|line| line.starts_with("llmopt prune ") || line.starts_with("llmopt quantize "))
        .map(|line| line.replacen("llmopt ", "\"$0\" ", 1).replace(" MODEL ", " tiny-llama "))
        .collect();
    assert_eq!(commands.len(), 2, "{card}");
    dir.remove("out");
    let ran = std::process::Command::new("sh")
        .args(["-ec", &commands.join("\n"), env!("CARGO_BIN_EXE_llmopt")])
        .current_dir(dir.path(""))
        .output()
        .unwrap();
    assert!(ran.status.success(), "{commands:?}\n{}", String::from_utf8_lossy(&ran.stderr));
    assert!(dir.tree("out") == first, "{commands:?}");
}
