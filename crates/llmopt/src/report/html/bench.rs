//! Speed on a page: tokens a second by batch, the tables, and how it was measured.

use super::axis::Axis;
use super::escape::{escaped, prose};
use super::parts::{document, figure, table};
use super::svg::{Anchor, Screen, Svg};
use crate::report::bench::{cost, decoded_name, facts, read, speed, title};
use crate::report::numbers::significant;
use llmopt_pipeline::{Bench, BenchedBatch};
use std::fmt::Write;

/// The page.
pub(in crate::report) fn page(bench: &Bench) -> String {
    let title = format!("Speed of {}", title(bench, str::to_owned));
    let mut body = format!("<header>\n<h1>{}</h1>\n</header>\n", escaped(&title));
    let _ = writeln!(body, "<section>\n<h2>Decoding</h2>");
    figure(&mut body, |screen| picture(screen, bench), &caption(bench));
    let _ = writeln!(body, "</section>\n<section>\n<h2>Numbers</h2>");
    for part in [speed(bench), cost(bench), read(bench)] {
        table(&mut body, &part.headings(), part.rows);
    }
    let _ = writeln!(body, "</section>\n<section>\n<h2>How it was measured</h2>\n<dl>");
    for (name, fact) in facts(bench) {
        let _ = writeln!(body, "<dt>{name}</dt><dd>{}</dd>", prose(&fact));
    }
    let _ = writeln!(
        body,
        "<dt>made by</dt><dd>{}</dd></dl>\n</section>",
        escaped(&format!("{} {}", bench.tool, bench.version))
    );
    document(&title, &body)
}

fn caption(bench: &Bench) -> String {
    match &bench.models[..] {
        [model, original] => format!(
            "By sequences that go through together. Filled bars are {}, outlines {}.",
            model.model.name, original.model.name
        ),
        _ => "By sequences that go through together.".to_owned(),
    }
}

/// A group of bars for each batch, one of each model.
fn picture(screen: Screen, bench: &Bench) -> String {
    let width = screen.width();
    let rate = |batch: &BenchedBatch| batch.tokens_per_second.median;
    let batches = bench.models.iter().flat_map(|model| &model.batches);
    let most = batches.map(rate).fold(0.0, f64::max);
    let label = &format!("{}: tokens a second, of all sequences together", decoded_name(bench));
    let up = Axis::upward(0.0, most, TOP, BOTTOM);
    let mut svg = Svg::new(width, HEIGHT, label);
    svg.text("heading", [0.0, 14.0], Anchor::Start, screen.pick(label, "tokens a second"));
    up.draw(&mut svg, LEFT, width, |tick| significant(tick, 3));
    let count = bench.protocol.batches.len().max(1);
    let pitch = (width - LEFT) / count as f64;
    for (place, batch) in bench.protocol.batches.iter().enumerate() {
        let x = LEFT + pitch * place as f64;
        for (number, model) in bench.models.iter().enumerate() {
            let Some(batch) = model.batches.get(place) else { continue };
            let share = 0.8 / bench.models.len() as f64;
            let left = x + pitch * (0.1 + share * number as f64);
            let (top, across) = (up.at(rate(batch)), pitch * share * 0.92);
            let class = if number == 0 { "bar" } else { "before" };
            let told = format!(
                "{}, {} together: {} tokens a second",
                model.model.name,
                batch.batch,
                significant(rate(batch), 3)
            );
            svg.rectangle(class, [left, top], [across, up.at(0.0) - top], &told);
        }
        svg.text("tick", [x + pitch / 2.0, BOTTOM + 16.0], Anchor::Middle, &batch.to_string());
    }
    svg.text("tick", [(LEFT + width) / 2.0, HEIGHT - 4.0], Anchor::Middle, "sequences");
    svg.finished()
}

const HEIGHT: f64 = 280.0;
const LEFT: f64 = 56.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 236.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn every_batch_has_a_bar_of_each_model() {
        let bench = sample::bench();
        let page = page(&bench);
        assert_eq!(page.matches("<svg ").count(), 2, "one picture in two widths");
        let batches = bench.protocol.batches.len();
        assert_eq!(page.matches("<rect class=\"bar\"").count(), 2 * batches);
        assert_eq!(page.matches("<rect class=\"before\"").count(), 2 * batches);
        assert!(!page.contains("NaN") && !page.contains("http"), "{page}");
    }

    #[test]
    fn a_model_alone_has_no_outlines() {
        let mut alone = sample::bench();
        alone.models.truncate(1);
        let page = page(&alone);
        assert!(!page.contains("class=\"before\"") && !page.contains("outlines"), "{page}");
    }

    #[test]
    fn hostile_names_are_text() {
        let mut bench = sample::bench();
        bench.models[0].model.name = "</title><script>".to_owned();
        bench.notes = vec!["<img src=x>".to_owned()];
        let page = page(&bench);
        assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
    }
}
