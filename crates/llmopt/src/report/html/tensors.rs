//! Which tensors have which scheme and error.

use super::axis::every;
use super::escape::escaped;
use super::parts::{figure, table};
use super::svg::{Anchor, Screen, Svg};
use crate::report::kinds::{Kind, Measure, kinds};
use crate::report::numbers::share;
use crate::units;
use llmopt_pipeline::{Evaluation, TensorFacts};
use std::fmt::Write;

pub(super) fn section(body: &mut String, evaluation: &Evaluation) {
    let tensors = &evaluation.tensors;
    if tensors.is_empty() {
        return;
    }
    let measure = Measure::of(evaluation);
    let kinds = kinds(tensors, measure);
    let _ = writeln!(body, "<section>\n<h2>Which matrices have which scheme and error</h2>");
    let worst = kinds.iter().filter_map(|kind| kind.worst).max_by(|a, b| a.1.total_cmp(&b.1));
    match worst {
        Some((name, error)) => {
            let caption = format!(
                "The stronger the fill, the greater the {} of the matrix. Greatest: {} in {name}.",
                measure.name(),
                share(error)
            );
            figure(body, |screen| map(screen, &kinds, measure), &caption);
            let explained = escaped(measure.explained());
            let _ =
                writeln!(body, "<p class=\"aside\">{explained}{}</p>", missing(tensors, measure));
        }
        None => {
            let _ = writeln!(body, "<p>The artifact does not say what its matrices lost.</p>");
        }
    }
    let mean = format!("mean {}", measure.name());
    let headings = ["matrices", "scheme", "count", "bytes", &mean, "greatest"];
    let rows = kinds.iter().map(|kind| {
        vec![
            kind.label.clone(),
            kind.schemes.join(", "),
            units::count(kind.tensors as u64),
            units::bytes(kind.bytes),
            kind.error.map(share).unwrap_or_default(),
            kind.worst.map(|(_, error)| share(error)).unwrap_or_default(),
        ]
    });
    table(body, &headings, rows);
    all(body, tensors, measure);
    let _ = writeln!(body, "</section>");
}

/// How many matrices have no such error.
fn missing(tensors: &[TensorFacts], measure: Measure) -> String {
    match tensors.iter().filter(|tensor| measure.error(tensor).is_none()).count() {
        0 => String::new(),
        count => format!(" Of {} it was not measured.", units::matrices(count)),
    }
}

/// Kinds down, layers across: how much is filled says how great the error is.
fn map(screen: Screen, kinds: &[Kind<'_>], measure: Measure) -> String {
    let (width, left) = (screen.width(), screen.pick(168.0, 116.0));
    let kinds: Vec<&Kind<'_>> = kinds.iter().filter(|kind| !kind.by_layer.is_empty()).collect();
    let layers =
        kinds.iter().flat_map(|kind| kind.by_layer.keys()).max().map_or(0, |last| last + 1);
    let most = kinds.iter().flat_map(|kind| kind.by_layer.values()).copied().fold(0.0, f64::max);
    let height = ROW * kinds.len() as f64 + 74.0;
    let mut svg = Svg::new(width, height, format!("The {} in each layer", measure.name()));
    let pitch = (width - left) / layers.max(1) as f64;
    for (row, kind) in kinds.iter().enumerate() {
        let y = ROW * row as f64;
        let label = shortened(&kind.label, screen.pick(24, 17));
        svg.text("name", [left - 8.0, y + 15.0], Anchor::End, &label);
        for (&layer, &error) in &kind.by_layer {
            let title = format!("layer {layer}, {}: {}", kind.label, share(error));
            let x = left + pitch * layer as f64;
            let gap = (pitch * 0.06).min(1.0);
            let size = [pitch - 2.0 * gap, ROW - 2.0];
            svg.shaded("cell", [x + gap, y + 1.0], size, shade(error, most), &title);
        }
    }
    let bottom = ROW * kinds.len() as f64;
    for layer in (0..layers).step_by(every(layers, screen.pick(24, 10))) {
        let x = left + pitch * (layer as f64 + 0.5);
        svg.text("tick", [x, bottom + 14.0], Anchor::Middle, &layer.to_string());
    }
    svg.text("tick", [(left + width) / 2.0, bottom + 30.0], Anchor::Middle, "layer");
    legend(&mut svg, [left, bottom + 42.0], screen.pick(4, 2), most);
    svg.finished()
}

/// Errors from none to the greatest in so many steps.
fn legend(svg: &mut Svg, [left, y]: [f64; 2], steps: u8, most: f64) {
    for step in 0..=steps {
        let error = most * f64::from(step) / f64::from(steps);
        let x = left + 76.0 * f64::from(step);
        svg.shaded("cell", [x, y], [24.0, 16.0], shade(error, most), "");
        svg.text("tick", [x + 30.0, y + 12.0], Anchor::Start, &share(error));
    }
    svg.text("tick", [left - 8.0, y + 12.0], Anchor::End, "error");
}

/// None is still seen as a cell.
fn shade(error: f64, most: f64) -> f64 {
    0.06 + 0.94 * (error / most.max(f64::MIN_POSITIVE)).clamp(0.0, 1.0)
}

/// The matrices with the greatest errors, each by its name.
fn all(body: &mut String, tensors: &[TensorFacts], measure: Measure) {
    let mut sorted: Vec<&TensorFacts> = tensors.iter().collect();
    sorted.sort_by(|a, b| {
        let error = |tensor: &TensorFacts| measure.error(tensor).unwrap_or(-1.0);
        error(b).total_cmp(&error(a))
    });
    let count = sorted.len().min(LISTED);
    let summary = match sorted.len() > LISTED {
        true => {
            format!("The {LISTED} with the greatest errors of {}", units::matrices(sorted.len()))
        }
        false => format!("All {}", units::matrices(sorted.len())),
    };
    let _ = writeln!(body, "<details><summary>{}</summary>", escaped(&summary));
    let headings =
        ["matrix", "scheme", "parameters", "bytes", "error of outputs", "error of weights"];
    let rows = sorted[..count].iter().map(|tensor| {
        vec![
            tensor.name.clone(),
            tensor.scheme.clone(),
            units::count(tensor.parameters),
            units::bytes(tensor.bytes),
            tensor.output_error.map(share).unwrap_or_default(),
            tensor.relative_error.map(share).unwrap_or_default(),
        ]
    });
    table(body, &headings, rows);
    let _ = writeln!(body, "</details>");
}

/// A label that fits beside the map: its end says more than its beginning.
fn shortened(label: &str, fit: usize) -> String {
    let letters = label.chars().count();
    if letters <= fit {
        return label.to_owned();
    }
    let end: String = label.chars().skip(letters - fit + 1).collect();
    format!("…{end}")
}

const ROW: f64 = 22.0;
/// A page of all matrices of a large mixture of experts would be slow to open.
const LISTED: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[track_caller]
    fn check(change: impl FnOnce(&mut Evaluation), expected: &[&str]) -> String {
        let mut evaluation = sample::comparison();
        change(&mut evaluation);
        let mut body = String::new();
        section(&mut body, &evaluation);
        expected.iter().for_each(|text| assert!(body.contains(text), "{text}\n{body}"));
        body
    }

    #[test]
    fn a_cell_for_every_kind_in_every_layer() {
        let greatest = "greater the error of outputs of the matrix. Greatest: 12.8 % in \
                        model.layers.5.mlp.down_proj.weight.";
        let body = check(|_| (), &[greatest, "make up for earlier blocks.</p>", "All 56 matrices"]);
        assert_eq!(body.matches("<title>layer ").count(), 2 * 56, "in both widths");
    }

    #[test]
    fn without_inputs_the_error_is_that_of_weights_and_called_so() {
        let weights = "greater the error of weights of the matrix. Greatest: 14.2 % in ";
        let unknown = "No inputs were observed: ";
        check(|evaluation| evaluation.record = None, &[weights, unknown]);
    }

    #[test]
    fn matrices_whose_inputs_were_not_observed_are_counted() {
        let unobserved = |evaluation: &mut Evaluation| evaluation.tensors[3].output_error = None;
        let body = check(unobserved, &[" Of 1 matrix it was not measured.</p>"]);
        assert_eq!(body.matches("<title>layer ").count(), 2 * 55);
    }

    #[test]
    fn an_artifact_without_errors_has_a_table_alone() {
        let bare = |evaluation: &mut Evaluation| {
            evaluation.record = None;
            evaluation.tensors.iter_mut().for_each(|tensor| tensor.relative_error = None);
        };
        let body = check(bare, &["does not say"]);
        assert!(!body.contains("<svg"), "{body}");
    }

    #[test]
    fn of_many_matrices_the_worst_are_listed() {
        let many = |evaluation: &mut Evaluation| {
            evaluation.tensors = vec![evaluation.tensors.clone(); 10].concat();
        };
        check(many, &["The 300 with the greatest errors of 560 matrices"]);
    }

    #[test]
    fn long_labels_keep_their_end() {
        assert_eq!(shortened("mlp.up_proj", 24), "mlp.up_proj");
        let label = shortened("block_sparse_moe.experts.*.w1", 24);
        assert_eq!(label, "…sparse_moe.experts.*.w1");
    }
}
