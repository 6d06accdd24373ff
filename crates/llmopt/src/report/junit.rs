//! The gates as JUnit XML, as CI servers show test results: a suite for the evaluation, a case for each
//! gate. There is no clock in it: times are 0.

use super::escape::escaped;
use super::figures::facts;
use super::gates;
use super::title;
use llmopt_pipeline::{Evaluation, Outcome};
use std::fmt::Write;

/// The document.
pub(super) fn junit(evaluation: &Evaluation) -> String {
    let missed = evaluation.gates.iter().filter(|gate| !gate.passed).count();
    // A suite without cases is taken for one that did not run.
    let skipped = usize::from(evaluation.gates.is_empty());
    let counts = format!(
        "tests=\"{}\" failures=\"{missed}\" errors=\"0\" skipped=\"{skipped}\" time=\"0\"",
        evaluation.gates.len() + skipped
    );
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"llmopt eval\" \
         tests=\"{}\" failures=\"{missed}\" errors=\"0\" time=\"0\">\n<testsuite name=\"{}\" {counts}>\n",
        evaluation.gates.len() + skipped,
        attribute(&title(evaluation))
    );
    let artifact = attribute(&evaluation.artifact.name);
    if evaluation.gates.is_empty() {
        let message = "no gate was asked for";
        let _ = writeln!(
            text,
            "<testcase name=\"gates\" classname=\"{artifact}\" time=\"0\"><skipped \
             message=\"{message}\"/></testcase>"
        );
    }
    for gate in &evaluation.gates {
        case(&mut text, &artifact, gate);
    }
    let told: String = facts(evaluation)
        .iter()
        .map(|(name, fact)| format!("{name}: {}\n", attribute(fact)))
        .collect();
    let _ = write!(text, "<system-out>{told}</system-out>\n</testsuite>\n</testsuites>\n");
    text
}

fn case(text: &mut String, artifact: &str, gate: &Outcome) {
    let _ = write!(
        text,
        "<testcase name=\"{}\" classname=\"{artifact}\" time=\"0\">",
        attribute(&gate.gate)
    );
    let line = attribute(&gates::in_a_line(gate));
    let _ = match gate.passed {
        true => write!(text, "<system-out>{line}</system-out>"),
        false => {
            write!(text, "<failure message=\"{line}\" type=\"{}\">{line}</failure>", gate.verdict)
        }
    };
    let _ = writeln!(text, "</testcase>");
}

/// `text` on a line, without what ends an attribute or an element, or what XML may not hold at all.
fn attribute(text: &str) -> String {
    escaped(text).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn every_gate_is_a_case_and_the_missed_ones_fail() {
        let text = junit(&sample::comparison());
        let suite = "<testsuite name=\"llama-8m-w4a16 against llama-8m\" tests=\"3\" failures=\"1\" \
                     errors=\"0\" skipped=\"0\" time=\"0\">\n";
        assert!(text.contains(suite), "{text}");
        let passed = "<testcase name=\"kld &lt;= 0.03\" classname=\"llama-8m-w4a16\" time=\"0\">\
                      <system-out>kld is 0.0123 (95 % interval 0.0119 to 0.0128), limit 0.0300; passed\
                      </system-out></testcase>\n";
        assert!(text.contains(passed), "{text}");
        let line = "top1 is 95.2 % (95 % interval 94.9 % to 95.5 %), limit 97.0 %; too little by 1.8 points";
        let failure = format!("<failure message=\"{line}\" type=\"fail\">{line}</failure>");
        assert_eq!(text.matches(&failure).count(), 1, "{text}");
    }

    #[test]
    fn without_gates_there_is_a_case_that_was_skipped() {
        let text = junit(&sample::alone());
        assert!(
            text.contains("tests=\"1\" failures=\"0\" errors=\"0\" skipped=\"1\" time=\"0\""),
            "{text}"
        );
        assert!(text.contains("<skipped message=\"no gate was asked for\"/>"), "{text}");
    }

    #[test]
    fn names_end_neither_attributes_nor_elements() {
        let mut evaluation = sample::comparison();
        evaluation.artifact.name = "a\"b<c>&'\u{1}\u{ffff}\n]]>".to_owned();
        let text = junit(&evaluation);
        let name = "a&quot;b&lt;c&gt;&amp;&#39;\\u{1}\u{fffd}\\n]]&gt;";
        assert!(text.contains(&format!("classname=\"{name}\"")), "{text}");
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text}");
    }
}
