//! Cards of records made by hand, some of them hostile.

use super::*;
use crate::print;
use crate::report::sample;
use llmopt_pipeline::write_file;
use serde_json::json;
use tempfile::TempDir;

/// The folder of an artifact with this record.
fn artifact(record: &Value) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    put(&folder, "llmopt.json", &print::document(record).unwrap());
    folder
}

fn put(folder: &TempDir, name: &str, text: &str) {
    write_file(&folder.path().join(name), text.as_bytes()).unwrap();
}

/// As `quantize` writes it, pruned before.
fn record() -> Value {
    json!({
        "tool": "llmopt", "version": "0.1.0", "outputs": {},
        "made_from": {
            "tool": "llmopt", "version": "0.1.0", "bytes_before": 15_737_344, "sparsity": 0.2496,
            "axes": ["ffn", "heads"],
            "recipe": {
                "sparsity": 0.25, "axes": ["ffn", "heads"], "method": "obs", "refit": true, "refine": 5,
                "bias": false, "align": null, "strict": false, "runtimes": ["transformers", "vllm"],
                "calibrate": {
                    "sources": [{ "name": "builtin", "weight": 1.0 }], "samples": 144, "window": 256,
                    "bos": false, "date": null, "seed": 0, "sequential": true, "held_out": true,
                    "precision": "f32", "kernel": "auto"
                }
            },
            "decision": { "windows": 16, "chosen": ["ffn", "heads"], "candidates": [] },
            "calibration": { "kernel": "f32 faer", "windows": 144, "window": 256, "sources": [{ "name": "builtin" }] }
        },
        "recipe": {
            "scheme": {
                "weights": { "int": { "bits": 4 } }, "granularity": { "group": 128 }, "symmetric": true,
                "activations": "none"
            },
            "group_size": { "columns": 64 }, "method": "auto", "format": "compressed-tensors",
            "runtimes": ["transformers", "vllm"], "tensor_parallel": 1, "include": [], "exclude": ["*.o_proj"],
            "embeddings": false, "lm_head": false, "allow_nonfinite": false, "strict": false,
            "calibrate": {
                "sources": [{ "name": "my text.txt", "weight": 0.5 }], "samples": 128, "window": null,
                "bos": true, "date": null, "seed": 0, "sequential": true, "held_out": true,
                "precision": "bf16", "kernel": "auto"
            }
        },
        "bytes_before": 12_000_000, "bytes_after": 10_347_008,
        "bits_per_weight": 10.52, "linear_bits_per_weight": 4.25,
        "calibration": { "kernel": "bf16 amx", "windows": 128, "window": 256, "sources": [{ "name": "my text.txt" }] },
        "fallbacks": [{ "tensor": "a", "why": "b" }],
        "tensors": [
            { "name": "a.weight", "what": "kept" },
            { "name": "b.weight", "what": "w4a16 g64", "relative_error": 0.1 },
            { "name": "c.weight", "what": "w4a16 g64", "relative_error": 0.1 }
        ]
    })
}

fn evaluation() -> Value {
    serde_json::to_value(sample::comparison()).unwrap()
}

fn text(folder: &TempDir, request: &CardRequest<'_>) -> String {
    let request = CardRequest { name: Some("llama-8m-w4a16"), ..*request };
    Card::of(folder.path(), &request).unwrap().text().to_owned()
}

#[test]
fn a_card_tells_the_verdict_the_loss_and_the_way_back() {
    let (folder, evaluation) = (artifact(&record()), evaluation());
    let base_model = Some("someone/llama-8m");
    let request = CardRequest { base_model, evaluation: Some(&evaluation), ..Default::default() };
    assert_eq!(text(&folder, &request), include_str!("../sample/card.md"));
}

#[test]
fn without_an_evaluation_it_says_that_nothing_was_measured() {
    let folder = artifact(&record());
    let text = text(&folder, &CardRequest::default());
    let expected = "Nothing was measured: what this artifact lost against its original is not known. `llmopt eval \
                    llama-8m-w4a16 --against MODEL --text FILE` measures it.";
    assert!(text.contains(expected), "{text}");
    // What it was made from is not known either, and is not made up.
    assert!(!text.contains("base_model"), "{text}");
}

#[test]
fn a_recipe_stands_in_place_of_commands() {
    let folder = artifact(&record());
    let recipe = "model = \"llama-8m\"\n# ```\n";
    let text = text(&folder, &CardRequest { recipe: Some(recipe), ..Default::default() });
    assert!(text.contains("````toml\nmodel = \"llama-8m\"\n# ```\n````\n"), "{text}");
    assert!(!text.contains("llmopt quantize"), "{text}");
}

#[test]
fn each_text_has_its_figures_and_all_have_theirs() {
    let mut evaluation = evaluation();
    let (comparison, protocol) =
        (evaluation["comparison"].clone(), evaluation["protocol"]["text"].clone());
    let text_of =
        |name: &str| json!({ "name": name, "comparison": comparison, "protocol": protocol });
    evaluation["texts"] = json!([text_of("chat"), text_of("b|c")]);
    evaluation["protocol"]["text"] = json!(null);
    let folder = artifact(&record());
    let text = text(&folder, &CardRequest { evaluation: Some(&evaluation), ..Default::default() });
    for name in ["all texts together", "`chat`", "`b\\|c`"] {
        let row = format!("| {name} | KL divergence, mean, nats | 0.0123 | 0.0119 to 0.0128 |\n");
        assert!(text.contains(&row), "{text}");
    }
    assert!(
        text.contains(
            "- `chat`: 64 windows of 256 tokens, 16,320 tokens scored, from `heldout.txt`, "
        ),
        "{text}"
    );
    assert!(text.contains("| `questions.jsonl` | flips | 3.0 % | 1.0 % to 5.5 % |\n"), "{text}");
}

#[test]
fn a_gate_shows_its_interval_and_that_it_is_unsure() {
    let mut evaluation = evaluation();
    evaluation["gates"] = json!([
        { "gate": "kld <= 0.03", "metric": "kld", "value": 0.02, "interval": [0.01, 0.04], "verdict": "unsure",
          "passed": false },
        { "gate": "top1 >= 0.9", "metric": "top1", "value": 0.95, "interval": [0.94, 0.96], "verdict": "pass",
          "passed": true }
    ]);
    let folder = artifact(&record());
    let text = text(&folder, &CardRequest { evaluation: Some(&evaluation), ..Default::default() });
    let missed = "> **1 of 2 gates missed**: `kld <= 0.03` (found 0.0200, 0.0100 to 0.0400).\n";
    assert!(text.contains(missed), "{text}");
    let row =
        "| `kld <= 0.03` | 0.0200 | 0.0100 to 0.0400 | **missed**: unsure, counted as failed |\n";
    assert!(text.contains(row), "{text}");
    assert!(text.contains("| `top1 >= 0.9` | 95.0 % | 94.0 % to 96.0 % | passed |\n"), "{text}");
}

#[test]
fn an_evaluation_of_another_artifact_is_refused() {
    let folder = artifact(&record());
    let mut evaluation = evaluation();
    evaluation["artifact"]["bytes"] = json!(1);
    let request = CardRequest { evaluation: Some(&evaluation), ..Default::default() };
    let refused = Card::of(folder.path(), &request).unwrap_err().message();
    assert!(
        refused.starts_with("the evaluation is of `llama-8m-w4a16`, whose weights take 1 bytes"),
        "{refused}"
    );
}

#[test]
fn a_card_that_is_there_keeps_its_words() {
    let folder = artifact(&record());
    let there =
        "---\nlicense: mit\nbase_model: grand/parent\ntags:\n- tiny\n---\n# Tiny\n\nMine.\n";
    put(&folder, "README.md", there);
    let evaluation = evaluation();
    let with = |evaluation| {
        let request =
            CardRequest { base_model: Some("some/parent"), evaluation, ..Default::default() };
        let card = Card::of(folder.path(), &request).unwrap();
        let (text, notes) = (card.text().to_owned(), card.notes().len());
        card.write(&[("evaluation.json", b"{}")]).unwrap();
        (text, notes)
    };
    let (first, notes) = with(None);
    assert_eq!(notes, 1, "another base model stays");
    let begin = "---\nlicense: mit\nbase_model: grand/parent\ntags:\n- tiny\n- llmopt\n- compressed-tensors\n- int4\n\
                 - w4a16\n- pruned\nbase_model_relation: quantized\nlibrary_name: transformers\n\
                 pipeline_tag: text-generation\n---\n# Tiny\n\nMine.\n\n<!-- llmopt -->\n";
    assert!(first.starts_with(begin), "{first}");
    assert_eq!(with(None).0, first, "twice");
    // The section is replaced, and nothing else.
    let (second, _) = with(Some(&evaluation));
    assert!(second.starts_with(begin) && second != first, "{second}");
    assert_eq!(with(None).0, first);
    let record = RecordFile::open(folder.path()).unwrap();
    let outputs = record.record()["outputs"].as_object().unwrap();
    assert_eq!(outputs.keys().collect::<Vec<_>>(), ["README.md", "evaluation.json"]);
}

#[test]
fn words_before_which_there_is_no_front_matter_get_one() {
    let folder = artifact(&record());
    put(&folder, "README.md", "# Tiny\n");
    let text = text(&folder, &CardRequest::default());
    assert!(text.starts_with("---\nlibrary_name: transformers\n"), "{text}");
    assert!(text.contains("---\n\n# Tiny\n\n<!-- llmopt -->\n"), "{text}");
    put(&folder, "README.md", "---\n{license: mit}\n---\n# Tiny\n");
    let card = Card::of(folder.path(), &CardRequest::default()).unwrap();
    assert!(card.text().starts_with("---\n{license: mit}\n---\n# Tiny\n\n<!-- llmopt -->\n"));
    assert_eq!(card.notes().len(), 1);
}

/// Names that would end a cell, a code span, a heading, a block of code or the section.
#[test]
fn hostile_names_stay_where_they_are() {
    let hostile = "a|b`c``\n# d\n```\n<!-- /llmopt --><script>\u{202e}";
    let mut record = record();
    record["version"] = json!(hostile);
    record["calibration"]["kernel"] = json!(hostile);
    record["calibration"]["sources"][0]["name"] = json!(hostile);
    record["tensors"][1]["what"] = json!(hostile);
    record["made_from"]["axes"] = json!([hostile]);
    record["recipe"]["exclude"] = json!([hostile]);
    let mut evaluation = evaluation();
    evaluation["protocol"]["text"]["name"] = json!(hostile);
    evaluation["protocol"]["text"]["sha256"] = json!(hostile);
    evaluation["reference"]["name"] = json!(hostile);
    evaluation["gates"][0]["gate"] = json!(hostile);
    evaluation["gates"][1]["value"] = json!(null);
    let folder = artifact(&record);
    let request =
        CardRequest { name: Some(hostile), evaluation: Some(&evaluation), ..Default::default() };
    let card = Card::of(folder.path(), &request).unwrap();
    let text = card.text().to_owned();
    assert_eq!(text.matches("<!-- /llmopt -->").count(), 1, "{text}");
    let (mut words, mut in_block, mut blocks) = (String::new(), false, 0);
    for line in text.lines() {
        match (in_block, line) {
            (false, "````sh" | "````python") | (true, "````") => {
                in_block = !in_block;
                blocks += 1;
            }
            (false, line) => words += &format!("{line}\n"),
            _ => {}
        }
    }
    assert_eq!((blocks, in_block), (6, false), "{text}");
    assert!(
        !words.contains("\n# d") && !text.contains('\u{202e}') && !text.contains("base_model:"),
        "{text}"
    );
    for line in words.lines().filter(|line| line.starts_with('|')) {
        let bars = line.replace("\\|", "").matches('|').count();
        assert!(bars == 4 || bars == 5, "{line}");
    }
    card.write(&[]).unwrap();
    let again = Card::of(folder.path(), &request).unwrap();
    assert_eq!(again.text(), text, "twice");
}

/// Anything may stand anywhere in a record or an evaluation.
#[test]
fn nothing_that_is_of_another_kind_ends_in_a_panic() {
    let others =
        [json!(null), json!(-1), json!(1e308), json!("x"), json!([[]]), json!({ "value": [] })];
    let pointers = |value: &Value| {
        let mut found = vec![String::new()];
        let mut at = 0;
        while at < found.len() {
            let here = found[at].clone();
            match value.pointer(&here) {
                Some(Value::Object(fields)) => {
                    found.extend(fields.keys().map(|key| format!("{here}/{key}")));
                }
                Some(Value::Array(items)) => {
                    found.extend((0..items.len().min(2)).map(|n| format!("{here}/{n}")));
                }
                _ => {}
            }
            at += 1;
        }
        found
    };
    let (record, evaluation) = (record(), evaluation());
    for other in &others {
        for pointer in pointers(&record) {
            let mut changed = record.clone();
            *changed.pointer_mut(&pointer).unwrap() = other.clone();
            let made = Made::new(&changed);
            let request = CardRequest::default();
            let told = body::Told {
                name: "a",
                base: None,
                made: &made,
                evaluation: None,
                request: &request,
            };
            let _ = body::body(&told);
            let _ = wanted(None, &made).fresh();
        }
        for pointer in pointers(&evaluation).into_iter().filter(|p| !p.starts_with("/tensors/")) {
            let mut changed = evaluation.clone();
            *changed.pointer_mut(&pointer).unwrap() = other.clone();
            let _ = measured::measured(Some(&changed), "a", None);
            let _ = measured::missed(&changed);
        }
    }
}
