//! Several sizes of a model on a page: the table, and size against divergence.

use super::axis::Axis;
use super::escape::{escaped, prose};
use super::parts::{document, figure, table};
use super::svg::{Anchor, Screen, Svg};
use crate::report::ladder::{Decades, cells, facts, nats};
use crate::units;
use llmopt_pipeline::{LadderReport, Rung};
use std::fmt::Write;

/// The page.
pub(in crate::report) fn page(report: &LadderReport) -> String {
    let title = format!("Sizes of {}", report.model);
    let mut body = format!("<header>\n<h1>{}</h1>\n</header>\n", escaped(&title));
    let _ = writeln!(body, "<section>\n<h2>Size against what is lost</h2>");
    let caption = "Each mark is a rung: to the right it is larger, further up it diverges more from the original. \
                   Bars are 95 % intervals; the axis of divergence is logarithmic.";
    figure(&mut body, |screen| picture(screen, report), caption);
    let headings = [
        "bits",
        "group size",
        "bytes",
        "size",
        "bits per weight",
        "KL divergence",
        "95 % interval",
        "top-1",
        "method",
    ];
    table(&mut body, &headings, report.rungs.iter().map(|rung| cells(report, rung)));
    let _ = writeln!(body, "</section>\n<section>\n<h2>How it was measured</h2>\n<dl>");
    for (name, fact) in facts(report) {
        let _ = writeln!(body, "<dt>{name}</dt><dd>{}</dd>", prose(&fact));
    }
    let _ = writeln!(
        body,
        "<dt>made by</dt><dd>{}</dd></dl>\n</section>",
        escaped(&format!("{} {}", report.tool, report.version))
    );
    document(&title, &body)
}

fn picture(screen: Screen, report: &LadderReport) -> String {
    let width = screen.width();
    let decades = Decades::of(report);
    let most = report.rungs.iter().map(|rung| rung.planned.bytes).max().unwrap_or(1);
    let across = Axis { low: 0.0, high: most.max(1) as f64, start: LEFT, end: width - RIGHT };
    let up = Axis { low: 0.0, high: 1.0, start: BOTTOM, end: TOP };
    let mut svg =
        Svg::new(width, HEIGHT, "KL divergence of each rung against the bytes of its weights");
    svg.text("heading", [0.0, 14.0], Anchor::Start, "KL divergence, nats");
    for decade in decades.first..=decades.last {
        let y = up.at(decades.share(10_f64.powi(decade)));
        svg.line(if decade == decades.first { "axis" } else { "grid" }, [LEFT, y], [width, y]);
        svg.text("tick", [LEFT - 6.0, y + 4.0], Anchor::End, &format!("{:e}", 10_f64.powi(decade)));
    }
    svg.text("tick", [LEFT, BOTTOM + 16.0], Anchor::Start, "0 B");
    svg.text("tick", [across.end, BOTTOM + 16.0], Anchor::Middle, &units::bytes(most));
    for rung in &report.rungs {
        mark(&mut svg, (&across, &up), decades, rung);
    }
    svg.finished()
}

/// A rung with its interval and its bits.
fn mark(svg: &mut Svg, (across, up): (&Axis, &Axis), decades: Decades, rung: &Rung) {
    let x = across.at(rung.planned.bytes as f64);
    let at = |value: f64| up.at(decades.share(value));
    let y = at(rung.kld.value);
    if let Some((low, high)) = rung.kld.interval() {
        svg.line("marker", [x, at(low)], [x, at(high)]);
        for end in [low, high] {
            svg.line("marker", [x - 4.0, at(end)], [x + 4.0, at(end)]);
        }
    }
    let title = format!(
        "{} bits, {}: {} nats",
        rung.planned.bits,
        units::bytes(rung.planned.bytes),
        nats(rung.kld.value)
    );
    svg.rectangle("bar", [x - 4.0, y - 4.0], [8.0, 8.0], &title);
    svg.text("mark", [x + 8.0, y - 6.0], Anchor::Start, &rung.planned.bits.to_string());
}

const HEIGHT: f64 = 300.0;
const LEFT: f64 = 56.0;
/// Room for the mark of the largest rung.
const RIGHT: f64 = 40.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 258.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn every_rung_has_its_mark_and_its_interval() {
        let page = page(&sample::ladder());
        assert_eq!(page.matches("<svg ").count(), 2, "one picture in two widths");
        let rungs = sample::ladder().rungs.len();
        assert_eq!(page.matches("<rect class=\"bar\"").count(), 2 * rungs);
        assert_eq!(page.matches("<line class=\"marker\"").count(), 2 * 3 * rungs);
        assert!(!page.contains("NaN") && !page.contains("http"), "{page}");
    }

    #[test]
    fn a_rung_that_loses_more_stands_higher() {
        let report = sample::ladder();
        let svg = picture(Screen::Broad, &report);
        let tops = svg.split("<rect class=\"bar\"").skip(1).map(|rest| {
            let y = rest.split_once("y=\"").expect("a place").1;
            y.split_once('"').expect("quoted").0.parse::<f64>().expect("a number")
        });
        let tops: Vec<f64> = tops.collect();
        assert!(tops.is_sorted_by(|larger, smaller| larger > smaller), "{tops:?}");
    }

    #[test]
    fn hostile_names_are_text() {
        let mut report = sample::ladder();
        report.model = "</title><script>".to_owned();
        report.judged_on.name = "<img src=x>".to_owned();
        report.rungs[0].method = "<b>".to_owned();
        let page = page(&report);
        for tag in ["<script", "<img", "<b>"] {
            assert!(!page.contains(tag), "{tag}");
        }
    }
}
