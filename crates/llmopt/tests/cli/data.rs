//! Data files as people have them, and files for results that cannot be written.

use crate::dir::Dir;
use crate::synthetic;

const EVAL: &str = "eval tiny-llama --window 64 --samples 4 --json";

fn perplexity(dir: &Dir, options: &str) -> f64 {
    let found: serde_json::Value =
        serde_json::from_str(&dir.done(&format!("{EVAL} {options}")).stdout).unwrap();
    found["perplexity"]["value"].as_f64().unwrap()
}

/// The same text under every ending that is read: the numbers of `.txt` are the right ones.
#[test]
fn endings_say_how_a_text_is_written() {
    let dir = Dir::with_tiny_llama();
    let text = String::from_utf8(dir.read("tiny-llama/evaluation.txt")).unwrap();
    let text: String = text.chars().take(3000).collect();
    let object = serde_json::json!({ "text": text });
    for name in ["a.txt", "a.TXT", "a.md", "a", "bom.txt"] {
        let mark = if name == "bom.txt" { "\u{feff}" } else { "" };
        dir.write(name, format!("{mark}{text}").as_bytes());
    }
    dir.write("a.jsonl", object.to_string().as_bytes());
    dir.write("a.JSONL", format!("\u{feff}{object}\n").as_bytes());
    dir.write("a.json", format!("[\n  {object}\n]\n").as_bytes());
    let expected = perplexity(&dir, "--text a.txt");
    for name in ["a.TXT", "a.md", "a", "bom.txt", "a.jsonl", "a.JSONL", "a.json"] {
        assert_eq!(perplexity(&dir, &format!("--text {name}")), expected, "{name}");
    }
    dir.done("calibrate tiny-llama --data a.json --window 64 --samples 4 -o s.safetensors");
}

#[test]
fn what_is_no_text_is_refused_with_what_to_do() {
    let dir = Dir::with_tiny_llama();
    let check = |name: &str, what: &str, hint: &str| {
        dir.write(name, b"text\nhello");
        for command in ["eval tiny-llama --text", "quantize tiny-llama --bits 4 -o out --calibrate"]
        {
            let ran = dir.run(&format!("{command} {name}"));
            assert_eq!(ran.code, Some(2), "{}", ran.stderr);
            assert!(
                ran.stderr.contains(&format!("`{name}` {what}: data are read")),
                "{}",
                ran.stderr
            );
            assert!(ran.stderr.contains(hint), "{}", ran.stderr);
        }
    };
    check("a.csv", "is a table", "hint: write one JSON object a line");
    check("a.Parquet", "is a table", "hint: write one JSON object a line");
    check("a.jsonl.gz", "is compressed", "hint: unpack it first");
    check("a.log", "has an ending that is not read", "give it the ending `.txt`");
    dir.write("bad.json", b"[{\"text\": \"a\"}, {\"txt\": \"b\"}]");
    let ran = dir.run("eval tiny-llama --text bad.json");
    assert!(ran.stderr.contains("element 2 has neither `text` nor `messages`"), "{}", ran.stderr);
    let ran = dir.run("eval tiny-llama --tasks a.csv");
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
}

/// Rows of 64 ids, of which the second half of the first and the first quarter of the second are padding:
/// what is left is the same as a file without them.
#[test]
fn masked_tokens_are_left_out_and_counted() {
    let dir = Dir::with_tiny_llama();
    let ids: Vec<i64> = (0..256).map(|i| (i * i * 7 + i / 5) % 900).collect();
    let is_text = |place: usize| !(32..64).contains(&place) && !(64..80).contains(&place);
    let mask: Vec<i64> = (0..256).map(|place| i64::from(is_text(place))).collect();
    let kept: Vec<i64> = (0..256).filter(|&place| is_text(place)).map(|place| ids[place]).collect();
    let bytes = |values: &[i64]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let file = |mask: (&str, Vec<u8>)| {
        let shape = [4, 64].as_slice();
        synthetic::safetensors(&[
            ("attention_mask", mask.0, shape, mask.1),
            ("input_ids", "I64", shape, bytes(&ids)),
        ])
    };
    let bools: Vec<u8> = mask.iter().map(|&value| value as u8).collect();
    dir.write("masked.safetensors", &file(("I64", bytes(&mask))));
    dir.write("bools.safetensors", &file(("BOOL", bools)));
    let shape = [1, kept.len()];
    let alone = [("input_ids", "I64", shape.as_slice(), bytes(&kept))];
    dir.write("kept.safetensors", &synthetic::safetensors(&alone));
    let evaluated = |name: &str| -> serde_json::Value {
        let ran =
            dir.done(&format!("eval tiny-llama --window 52 --json --text {name}.safetensors"));
        serde_json::from_str(&ran.stdout).unwrap()
    };
    let (masked, kept) = (evaluated("masked"), evaluated("kept"));
    assert_eq!(masked["perplexity"], kept["perplexity"]);
    assert_eq!(masked["protocol"]["text"]["windows"]["masked_tokens"], 48);
    assert_eq!(evaluated("bools")["perplexity"], kept["perplexity"]);
    assert!(kept["protocol"]["text"]["windows"]["masked_tokens"].is_null());
    dir.done("quantize tiny-llama --bits 4 --method gptq --calibrate masked.safetensors --window 52 --samples 4 -o q");
    assert_eq!(dir.json("q/llmopt.json")["calibration"]["sources"][0]["masked_tokens"], 48);
    let refused = |name: &str, mask: Vec<u8>, expected: &str| {
        dir.write(name, &file(("I64", mask)));
        let ran = dir.run(&format!("eval tiny-llama --text {name} --window 52"));
        assert_eq!(ran.code, Some(3), "{}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    };
    refused("all.safetensors", bytes(&[0; 256]), "`attention_mask` masks every token");
    refused(
        "two.safetensors",
        bytes(&[2; 256]),
        "`attention_mask` is 2 at token 0, expected 0 or 1",
    );
}

#[test]
fn a_template_is_given_the_date_that_is_asked_for() {
    let dir = Dir::with_tiny_llama();
    dir.write(
        "tiny-llama/chat_template.jinja",
        b"{{ strftime_now('%d %b %Y') }}{% for m in messages %}{{ m['content'] }}{% endfor %}",
    );
    let line = serde_json::json!({ "messages": [{ "role": "user", "content": "hello there ".repeat(40) }] });
    dir.write("chat.jsonl", format!("{line}\n{line}\n{line}\n").as_bytes());
    let without = dir.run(&format!("{EVAL} --text chat.jsonl"));
    assert_eq!(without.code, Some(3), "{}", without.stderr);
    assert!(without.stderr.contains("`--date 2026-01-31` gives the date"), "{}", without.stderr);
    let dated =
        |date: &str| perplexity(&dir, &format!("--text chat.jsonl --date {date} --report r.json"));
    let first = dated("2026-01-31");
    assert_eq!(dir.json("r.json")["protocol"]["text"]["date"], "2026-01-31");
    assert_ne!(first, dated("1999-12-24"), "the date is part of the text");
}

/// `/proc` takes no files, whoever asks.
#[test]
fn reports_that_cannot_be_written_are_refused_before_the_work() {
    let dir = Dir::with_tiny_llama();
    dir.write("folder.json/file", b"");
    let commands = [
        "eval tiny-llama --text tiny-llama/evaluation.txt --window 64 --samples 2",
        "quantize tiny-llama --bits 8 -o out",
        "prune tiny-llama --sparsity 0.2 --axes ffn --method magnitude --no-refit -o out",
    ];
    for command in commands {
        for report in ["/proc/report.json", "folder.json"] {
            let ran = dir.run(&format!("{command} --report {report}"));
            assert!(matches!(ran.code, Some(2 | 4)), "{command}: {}", ran.stderr);
            assert!(ran.stderr.starts_with("error: "), "no stage was begun: {}", ran.stderr);
            assert_eq!(ran.stdout, "");
        }
    }
    assert_eq!(dir.names(), ["folder.json", "tiny-llama"]);
}

#[test]
fn an_evaluation_against_a_reference_tells_the_perplexity_as_any_other() {
    let dir = Dir::with_tiny_llama();
    let alone = perplexity(&dir, "--text tiny-llama/evaluation.txt");
    let against = perplexity(&dir, "--text tiny-llama/evaluation.txt --against tiny-llama");
    assert_eq!(alone, against);
}
