//! The report as one page that needs nothing else: no script, no font, no picture from elsewhere.

mod axis;
mod bench;
mod blocks;
mod divergence;
mod ladder;
mod making;
mod mixed;
mod parts;
mod sizes;
mod svg;
mod tensors;

use super::figures::{USUAL, breakdowns, facts, figures};
use super::{escape, gates, title};
use crate::units;
pub(super) use bench::page as bench;
use escape::{escaped, prose};
pub(super) use ladder::page as ladder;
use llmopt_pipeline::{Evaluation, TaskResult, TextResult};
pub(super) use mixed::page as mixed;
use parts::{document, table};
use std::fmt::Write;

/// The page: gates first, then the numbers, then the pictures.
pub(super) fn page(evaluation: &Evaluation) -> String {
    let title = title(evaluation);
    let mut body = format!("<header>\n<h1>{}</h1>\n", escaped(&title));
    tiles(&mut body, evaluation);
    let _ = writeln!(body, "</header>");
    outcomes(&mut body, evaluation);
    metrics(&mut body, evaluation);
    blocks::section(&mut body, evaluation);
    if let Some(comparison) = &evaluation.comparison {
        divergence::section(&mut body, comparison);
    }
    tensors::section(&mut body, evaluation);
    sizes::section(&mut body, evaluation);
    making::section(&mut body, evaluation);
    measured(&mut body, evaluation);
    document(&title, &body)
}

/// The numbers that one looks for first.
fn tiles(body: &mut String, evaluation: &Evaluation) {
    let artifact = &evaluation.artifact;
    let mut tiles = Vec::new();
    if let Some(reference) = &evaluation.reference {
        tiles.push(("of the size", units::share(artifact.bytes, reference.bytes)));
    }
    let all = artifact.bits_per_weight;
    tiles.push(match artifact.linear_bits_per_weight {
        Some(linears) => ("bits per weight: linears; all", format!("{linears:.2}; {all:.2}")),
        None => ("bits per weight of all", format!("{all:.2}")),
    });
    let figures = figures(evaluation);
    let first =
        ["KL divergence, mean", "top-1 agreement", "perplexity ratio", "perplexity", "flips"];
    for name in first {
        let figure = figures.iter().find(|figure| figure.name == name);
        tiles.extend(figure.map(|figure| (name, figure.value.clone())));
    }
    let _ = writeln!(body, "<ul class=\"tiles\">");
    for (name, value) in tiles.into_iter().take(TILES) {
        let _ = writeln!(body, "<li><strong>{}</strong> <span>{name}</span></li>", escaped(&value));
    }
    let _ = writeln!(body, "</ul>");
}

fn outcomes(body: &mut String, evaluation: &Evaluation) {
    let Some(verdict) = gates::verdict(evaluation) else { return };
    let class = if evaluation.passed() { "passed" } else { "missed" };
    let _ =
        writeln!(body, "<section class=\"gates {class}\">\n<h2>{}</h2>\n<ul>", escaped(&verdict));
    for gate in &evaluation.gates {
        let (class, mark) = if gate.passed { ("passed", "✓") } else { ("missed", "✗") };
        let interval = match gates::interval(gate) {
            none if none.is_empty() => none,
            ends => format!("95 % interval {ends}, "),
        };
        let _ = writeln!(
            body,
            "<li class=\"{class}\"><span class=\"mark\">{mark}</span> <code>{}</code> <strong>{}\
             </strong> <span class=\"result\">{}</span> <small>{}limit {}</small></li>",
            escaped(&gate.gate),
            escaped(&gates::value(gate)),
            escaped(&gates::result(gate)),
            escaped(&interval),
            escaped(&gates::limit(gate))
        );
    }
    let _ = writeln!(body, "</ul>\n</section>");
}

fn metrics(body: &mut String, evaluation: &Evaluation) {
    let reference = evaluation.reference.is_some();
    let mut headings = vec!["metric", "artifact", "95 % interval"];
    headings.extend(reference.then_some("reference"));
    let rows = figures(evaluation).into_iter().map(|figure| {
        let mut row = vec![figure.name.to_owned(), figure.value, figure.interval];
        row.extend(reference.then_some(figure.reference));
        row
    });
    let heading = if reference { "What was lost" } else { "What was measured" };
    let _ = writeln!(body, "<section>\n<h2>{heading}</h2>");
    table(body, &headings, rows);
    for parts in breakdowns(evaluation) {
        let headings: Vec<&str> =
            parts.columns.iter().map(|name| name.trim_start_matches('>')).collect();
        table(body, &headings, parts.rows);
    }
    if evaluation.comparison.is_some() {
        let _ = writeln!(body, "<p class=\"aside\">{}</p>", escaped(USUAL));
    }
    let _ = writeln!(body, "</section>");
}

fn measured(body: &mut String, evaluation: &Evaluation) {
    let _ = writeln!(body, "<section>\n<h2>How it was measured</h2>\n<dl>");
    let mut told: Vec<(&str, String)> = facts(evaluation);
    let protocol = &evaluation.protocol;
    if evaluation.texts.is_empty() {
        told.extend(protocol.text.as_ref().map(|text| ("text’s SHA-256", text.sha256.clone())));
    }
    if evaluation.tasks.is_empty() {
        told.extend(protocol.tasks.as_ref().map(|tasks| ("tasks’ SHA-256", tasks.sha256.clone())));
    }
    let of_text = |text: &TextResult| format!("{} of {}", text.protocol.sha256, text.name);
    told.extend(evaluation.texts.iter().map(|text| ("text’s SHA-256", of_text(text))));
    let of_tasks = |tasks: &TaskResult| format!("{} of {}", tasks.protocol.sha256, tasks.name);
    told.extend(evaluation.tasks.iter().map(|tasks| ("tasks’ SHA-256", of_tasks(tasks))));
    told.extend(evaluation.notes.iter().map(|note| ("note", note.clone())));
    told.push(("made by", format!("{} {}", evaluation.tool, evaluation.version)));
    for (name, fact) in told {
        let _ = writeln!(body, "<dt>{name}</dt><dd>{}</dd>", prose(&fact));
    }
    let _ = writeln!(
        body,
        "</dl>\n<p class=\"aside\">Intervals hold 95 of 100 resamples of whole windows, or of \
         questions; p99 is the 99th percentile over tokens; KL divergence is in nats. The size is \
         the bytes of the weight files, headers included; bits per weight of all are these bits over \
         all parameters, those of the linears count the blocks’ matrices with their scales and zero \
         points. A hidden state’s error is |x − x<sub>reference</sub>| / |x<sub>reference</sub>|.\
         </p>\n</section>"
    );
}

/// As many as stand beside each other.
const TILES: usize = 5;

#[cfg(test)]
mod tests {
    use super::svg::Screen;
    use super::*;
    use crate::report::sample;
    use llmopt_pipeline::BlockLoss;

    /// Tags open and close in order, attributes are quoted, and what has no end is known.
    fn check_well_formed(page: &str) {
        let mut open: Vec<&str> = Vec::new();
        let page = page.strip_prefix("<!DOCTYPE html>").expect("a doctype");
        for (text, tag) in page.split('>').filter_map(|part| part.split_once('<')) {
            assert!(!text.contains('&') || open.last() == Some(&"style") || text.contains(';'));
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "closed in order");
                continue;
            }
            let name = tag.split_whitespace().next().expect("a name");
            assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric()), "<{tag}>");
            assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}>");
            if name != "meta" && !tag.ends_with('/') {
                open.push(name);
            }
        }
        assert_eq!(open, Vec::<&str>::new());
    }

    #[test]
    fn pages_are_well_formed_and_need_nothing_else() {
        for evaluation in [sample::comparison(), sample::alone(), sample::several()] {
            let page = page(&evaluation);
            check_well_formed(&page);
            for reach in ["http:", "https:", "src=", "href=", "url(", "@import", "<script"] {
                assert!(!page.contains(reach), "{reach}");
            }
            assert!(!page.contains("NaN"), "{page}");
        }
    }

    #[test]
    fn hostile_names_are_text() {
        let mut evaluation = sample::comparison();
        let hostile = "model.layers.0.<script>alert('x')</script>\"&\u{202e}\n.weight";
        for tensor in &mut evaluation.tensors {
            tensor.name = hostile.to_owned();
            tensor.scheme = "<b>".to_owned();
        }
        evaluation.artifact.name = "</title><script>".to_owned();
        evaluation.notes = vec!["<img src=x>".to_owned()];
        let record = evaluation.record.as_mut().unwrap();
        record.method = Some("<i>".to_owned());
        record.recipe = serde_json::json!({ "<u>": ["<script>"], "a": { "b": "<img>" } });
        evaluation.classes[0].class = "\"><svg onload=x>".to_owned();
        let page = page(&evaluation);
        check_well_formed(&page);
        for tag in ["<script", "<img", "<b>", "<i>", "<u>", "<svg onload", "\u{202e}"] {
            assert!(!page.contains(tag), "{tag}");
        }
    }

    #[test]
    fn every_picture_says_in_words_what_it_shows() {
        let page = page(&sample::comparison());
        assert_eq!(page.matches("<svg ").count(), 10, "five pictures in two widths");
        assert_eq!(page.matches("role=\"img\"").count(), 10);
        assert_eq!(page.matches("aria-label=").count(), 10);
    }

    /// Words of twelve pixels, for a narrow screen as it is and for a broad one.
    #[test]
    fn no_word_leaves_its_picture_or_runs_into_the_next() {
        let mut deep = sample::comparison();
        deep.blocks = (0..126).map(|layer| BlockLoss { layer, ..deep.blocks[5] }).collect();
        deep.blocks[125].added_error = 0.5;
        for page in [page(&sample::comparison()), page(&deep)] {
            for screen in [Screen::Broad, Screen::Narrow] {
                let class = format!("<div class=\"{}\"><svg", screen.name());
                let pictures: Vec<&str> = page.split(&class).skip(1).collect();
                assert_eq!(pictures.len(), 5);
                for picture in pictures {
                    check_words(picture.split_once("</svg>").expect("an end").0, screen.width());
                }
            }
        }
    }

    fn check_words(picture: &str, width: f64) {
        assert!(picture.contains(&format!("viewBox=\"0 0 {width:.0} ")), "{picture}");
        let mut words: Vec<(String, f64, f64)> = Vec::new();
        for word in picture.split("<text ").skip(1) {
            let (attributes, rest) = word.split_once('>').expect("a tag");
            let text = rest.split_once('<').expect("an end").0;
            let of = |name: &str| {
                let value = attributes.split_once(&format!("{name}=\"")).expect(name).1;
                value.split_once('"').expect("quoted").0
            };
            let bold = ["heading", "mark"].contains(&of("class"));
            let long = text.chars().count() as f64 * if bold { 6.9 } else { 6.2 };
            let (x, y) = (of("x").parse::<f64>().unwrap(), of("y").to_owned());
            let left = match of("text-anchor") {
                "start" => x,
                "middle" => x - long / 2.0,
                _ => x - long,
            };
            assert!(left > -2.0 && left + long < width + 2.0, "{text}: {left} to {}", left + long);
            words.push((y, left, left + long));
        }
        for (number, (y, left, right)) in words.iter().enumerate() {
            let beside = words[..number].iter().filter(|(other, ..)| other == y);
            for (_, l, r) in beside {
                assert!(right < l || r < left, "{picture}\n{y}: {left} to {right}, {l} to {r}");
            }
        }
    }
}
