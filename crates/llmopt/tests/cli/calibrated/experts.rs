//! Experts see the tokens that are sent to them, and some see too few.

use super::{SMALL, calibrated, fallbacks};
use crate::dir::Dir;
use std::collections::BTreeMap;

/// Quantizes so many windows' worth, and returns the tokens that each expert's matrices have seen.
fn quantized(dir: &Dir, windows: usize, window: usize) -> BTreeMap<String, Vec<u64>> {
    dir.done(&format!(
        "{SMALL} --window {window} --samples {windows} --method gptq --force -o out"
    ));
    dir.done("verify out --runtime transformers -q");
    let report = dir.json("out/llmopt.json");
    let mut experts: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (tensor, facts) in calibrated(&report) {
        if tensor.contains(".experts.") {
            let (expert, _) = tensor.trim_end_matches(".weight").rsplit_once('.').unwrap();
            let tokens = facts["tokens"].as_u64().unwrap();
            experts.entry(expert.to_owned()).or_default().push(tokens);
        }
    }
    experts
}

#[test]
fn every_token_is_counted_once_for_each_expert_that_it_goes_to() {
    let check = |family: &str, layers: u64, experts: usize, each: u64| {
        let dir = Dir::with_family(family);
        let found = quantized(&dir, 8, 64);
        assert_eq!(found.len(), experts, "{family}");
        let same = |tokens: &Vec<u64>| tokens.len() == 3 && tokens.iter().all(|x| *x == tokens[0]);
        assert!(found.values().all(same), "{family}: {found:?}");
        let sum: u64 = found.values().map(|tokens| tokens[0]).sum();
        assert_eq!(sum, layers * 8 * 64 * each, "{family}: {found:?}");
    };
    // Each token of a layer goes to two of three, and to two of five.
    check("mixtral", 2, 6, 2);
    check("qwen3_moe", 1, 5, 2);
}

#[test]
fn an_expert_with_too_few_tokens_is_searched_and_listed() {
    let dir = Dir::with_family("qwen3_moe");
    let mut kinds = [false; 3];
    for (windows, window) in [(2, 64), (1, 3)] {
        let experts = quantized(&dir, windows, window);
        // Four times the group size.
        let few = |tokens: u64| tokens < 64;
        let report = dir.json("out/llmopt.json");
        let mut expected = Vec::new();
        for (tensor, facts) in calibrated(&report) {
            let expert =
                experts.iter().find(|(expert, _)| tensor.starts_with(&format!("{expert}.")));
            let Some((expert, tokens)) = expert else { continue };
            let (tokens, number) = (tokens[0], expert.rsplit_once('.').unwrap().1);
            kinds[if tokens == 0 { 0 } else { 1 + usize::from(few(tokens)) }] = true;
            assert_eq!(facts["method"], if few(tokens) { "search" } else { "gptq" }, "{tensor}");
            if few(tokens) {
                let why = format!("expert {number} saw {tokens} tokens of 64 needed");
                assert_eq!(facts["fallback"], *why, "{tensor}");
                expected.push((tensor, why));
            }
        }
        let expected: Vec<(&str, &str)> =
            expected.iter().map(|(tensor, why)| (*tensor, why.as_str())).collect();
        assert_eq!(fallbacks(&report), expected);
        let args = format!("{SMALL} --window {window} --samples {windows} --method gptq --strict");
        let refused = dir.run(&format!("{args} -o strict"));
        assert_eq!(refused.code, Some(2), "{}", refused.stderr);
        let why = " tokens of 64 needed, and `--strict` forbids it\n";
        assert!(refused.stderr.ends_with(why), "{}", refused.stderr);
        assert!(!dir.names().iter().any(|name| name.starts_with("strict")));
    }
    assert_eq!(kinds, [true; 3], "experts without tokens, with enough, and with too few");
}
