//! Mixed precision on a page: bits over depth, what each unit costs, and everything that was measured.

use super::axis::{Axis, every};
use super::escape::{escaped, prose};
use super::parts::{document, figure, table};
use super::svg::{Anchor, Screen, Svg};
use crate::report::mixed::{CANDIDATE, cells, mixed_facts, short};
use crate::report::numbers::significant;
use crate::units;
use llmopt_pipeline::{MixedCandidate, MixedReport, MixedUnit, Report};
use std::fmt::Write;

/// The page; of a report without an allocation the heading alone.
pub(in crate::report) fn page(report: &Report) -> String {
    let title = "Mixed precision";
    let mut body = format!("<header>\n<h1>{title}</h1>\n</header>\n");
    if let Some(mixed) = &report.mixed {
        allocation(&mut body, mixed);
        measured(&mut body, mixed);
    }
    let _ = writeln!(
        body,
        "<p class=\"aside\">made by {}</p>",
        escaped(&format!("{} {}", report.envelope.tool, report.envelope.version))
    );
    document(title, &body)
}

fn allocation(body: &mut String, mixed: &MixedReport) {
    let _ = writeln!(body, "<section>\n<h2>Which layers got what, and why</h2>\n<dl>");
    for (name, fact) in mixed_facts(mixed) {
        let _ = writeln!(body, "<dt>{name}</dt><dd>{}</dd>", prose(&fact));
    }
    let _ = writeln!(body, "</dl>");
    let bits = |unit: &MixedUnit| unit.bits;
    let caption =
        "Bits of a weight, scales included, of every unit from the first layer to the last.";
    figure(body, |screen| rows(screen, &mixed.units, "bits of a weight", bits), caption);
    let cost = |unit: &MixedUnit| unit.probe_kld * 1e6;
    let caption = "KL divergence in millionths of a nat where this unit alone is changed, with the choice that it was \
                   probed with: what errors of a unit cost the whole model.";
    figure(body, |screen| rows(screen, &mixed.units, "cost of a probe", cost), caption);
    let _ = writeln!(body, "<details><summary>All units and choices</summary>");
    let headings = ["unit", "got", "bits", "probed with", "KL divergence", "could have got: error"];
    let row = |unit: &MixedUnit| {
        let choices = unit.choices.iter();
        let choices = choices.map(|of| format!("{}: {}", of.choice, significant(of.error, 2)));
        vec![
            unit.name.clone(),
            unit.choice.clone(),
            format!("{:.2}", unit.bits),
            unit.probed.clone(),
            significant(unit.probe_kld, 3),
            choices.collect::<Vec<_>>().join(", "),
        ]
    };
    table(body, &headings, mixed.units.iter().map(row));
    let _ = writeln!(body, "</details>\n</section>");
}

/// A row of bars for each kind of unit, over the layers.
fn rows(
    screen: Screen,
    units: &[MixedUnit],
    label: &str,
    value: impl Fn(&MixedUnit) -> f64,
) -> String {
    let mut kinds: Vec<&str> = Vec::new();
    for unit in units {
        if !kinds.contains(&short(&unit.name)) {
            kinds.push(short(&unit.name));
        }
    }
    let layers = units.iter().filter_map(|unit| unit.layer).max().map_or(1, |last| last + 1);
    let (width, most) = (screen.width(), units.iter().map(&value).fold(0.0, f64::max));
    let height = TOP + ROW * kinds.len() as f64 + 30.0;
    let mut svg = Svg::new(width, height, format!("{label} of every unit, by layer"));
    svg.text("heading", [0.0, 14.0], Anchor::Start, label);
    let pitch = (width - LEFT) / layers as f64;
    for (row, kind) in kinds.iter().enumerate() {
        let bottom = TOP + ROW * (row + 1) as f64;
        let axis =
            Axis { low: 0.0, high: most.max(f64::MIN_POSITIVE), start: bottom, end: bottom - BAR };
        svg.text("tick", [0.0, bottom - 4.0], Anchor::Start, kind);
        svg.line("axis", [LEFT, bottom], [width, bottom]);
        for unit in units.iter().filter(|unit| short(&unit.name) == *kind) {
            let x = LEFT + pitch * unit.layer.unwrap_or(0) as f64;
            let top = axis.at(value(unit));
            let title = format!("{}: {}, {}", unit.name, unit.choice, significant(value(unit), 3));
            svg.rectangle("bar", [x + pitch * 0.1, top], [pitch * 0.8, bottom - top], &title);
        }
    }
    for layer in (0..layers).step_by(every(layers, screen.pick(24, 10))) {
        let x = LEFT + pitch * (layer as f64 + 0.5);
        svg.text("tick", [x, height - 16.0], Anchor::Middle, &layer.to_string());
    }
    svg.text("tick", [(LEFT + width) / 2.0, height - 2.0], Anchor::Middle, "layer");
    svg.finished()
}

fn measured(body: &mut String, mixed: &MixedReport) {
    let _ = writeln!(body, "<section>\n<h2>What was measured</h2>");
    let caption = "Size of the units against KL divergence from the original, with 95 % intervals: outlined what was \
                   solved for, the others composed of the choices’ codes.";
    figure(body, |screen| frontier(screen, &mixed.candidates), caption);
    let headings = CANDIDATE.map(|name| name.trim_start_matches('>'));
    table(body, &headings, mixed.candidates.iter().map(cells));
    let _ = writeln!(body, "</section>");
}

/// Every candidate by its size and its divergence.
fn frontier(screen: Screen, candidates: &[MixedCandidate]) -> String {
    let width = screen.width();
    let bytes = || candidates.iter().map(|candidate| candidate.bytes as f64);
    let (least, most) = (bytes().fold(f64::MAX, f64::min), bytes().fold(0.0, f64::max));
    let margin = ((most - least) * 0.1).max(most * 0.005);
    let across = Axis { low: least - margin, high: most + margin, start: LEFT, end: width };
    let high = candidates.iter().map(|of| of.kld.interval().map_or(of.kld.value, |(_, high)| high));
    let up = Axis::upward(0.0, high.fold(0.0, f64::max), TOP, HEIGHT - 34.0);
    let mut svg = Svg::new(width, HEIGHT, "KL divergence of every candidate against its size");
    svg.text("heading", [0.0, 14.0], Anchor::Start, "KL divergence, nats");
    up.draw(&mut svg, LEFT, width, |tick| significant(tick, 2));
    for candidate in candidates {
        let (x, y) = (across.at(candidate.bytes as f64), up.at(candidate.kld.value));
        if let Some((low, high)) = candidate.kld.interval() {
            svg.line("marker", [x, up.at(low)], [x, up.at(high)]);
        }
        let class = if candidate.solved { "bar marked" } else { "bar" };
        let title = cells(candidate).join(", ");
        svg.rectangle(class, [x - 4.0, y - 4.0], [8.0, 8.0], &title);
    }
    let sizes = [(across.at(least), Anchor::Start, least), (across.at(most), Anchor::End, most)];
    for (x, anchor, size) in sizes {
        svg.text("tick", [x, HEIGHT - 14.0], anchor, &units::bytes(size as u64));
    }
    svg.finished()
}

const HEIGHT: f64 = 280.0;
const LEFT: f64 = 92.0;
const TOP: f64 = 30.0;
/// Height of a row of bars, and of the highest of them.
const ROW: f64 = 46.0;
const BAR: f64 = 36.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn every_unit_and_every_candidate_has_its_mark_in_both_widths() {
        let mixed = sample::mixed();
        let mut body = String::new();
        allocation(&mut body, &mixed);
        assert_eq!(body.matches("<rect class=\"bar\"").count(), 2 * 2 * mixed.units.len());
        let mut body = String::new();
        measured(&mut body, &mixed);
        assert_eq!(body.matches("<rect class=\"bar").count(), 2 * mixed.candidates.len());
        assert_eq!(body.matches("bar marked").count(), 2 * 2);
        assert!(!body.contains("NaN"), "{body}");
    }

    #[test]
    fn hostile_names_are_text() {
        let mut mixed = sample::mixed();
        mixed.units[0].name = "a.<script>".to_owned();
        mixed.candidates[0].name = "<img src=x>".to_owned();
        let mut body = String::new();
        allocation(&mut body, &mixed);
        measured(&mut body, &mixed);
        assert!(!body.contains("<script") && !body.contains("<img"), "{body}");
    }
}
