use llmopt_pipeline::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let opt = |k: &str| a.iter().position(|x| x == k).map(|i| a[i + 1].clone());
    let r = EvaluationRequest {
        artifact: a[1].clone().into(),
        against: opt("--against").map(Into::into),
        text: opt("--text").map(Into::into),
        tasks: opt("--tasks").map(Into::into),
        window: opt("--window").map(|w| w.parse().unwrap()),
        samples: opt("--samples").map(|w| w.parse().unwrap()),
        bos: false,
        date: None,
        precision: if opt("--dtype").as_deref() == Some("bf16") {
            Precision::Bf16
        } else {
            Precision::F32
        },
        kernel: opt("--kernel").map_or(KernelChoice::Auto, |k| k.parse().unwrap()),
        gates: vec![],
        logits: opt("--logits").map(Into::into),
        scratch: "/tmp".into(),
    };
    let res = Resources {
        memory: opt("--memory").map_or(8 << 30, |m| m.parse::<u64>().unwrap() << 20),
        threads: opt("--threads").map_or(2, |t| t.parse().unwrap()),
    };
    let t = std::time::Instant::now();
    let plan = match plan_evaluation(&r, res) {
        Ok(p) => p,
        Err(e) => {
            eprintln!("{e} / {:?}", e.hint());
            return;
        }
    };
    eprintln!("{:?}", plan.summary().memory);
    match evaluate(&plan, &Silent, &Cancel::new()) {
        Ok(mut e) => {
            e.tensors.clear();
            println!("{}", serde_json::to_string(&e).unwrap())
        }
        Err(e) => eprintln!("{e} {:?}", e.hint()),
    }
    eprintln!("{:?}", t.elapsed());
}
