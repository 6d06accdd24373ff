//! Which tensors have which scheme and error.

use super::axis::every;
use super::svg::{Anchor, Svg};
use super::{escaped, figure, table};
use crate::report::kinds::{Kind, kinds};
use crate::report::numbers::share;
use crate::units;
use llmopt_pipeline::TensorFacts;
use std::fmt::Write;

pub(super) fn section(body: &mut String, tensors: &[TensorFacts]) {
    if tensors.is_empty() {
        return;
    }
    let kinds = kinds(tensors);
    let _ = writeln!(body, "<section>\n<h2>Which matrices have which scheme and error</h2>");
    let worst = kinds.iter().filter_map(|kind| kind.worst).max_by(|a, b| a.1.total_cmp(&b.1));
    match worst {
        Some((name, error)) => {
            let caption = format!(
                "The stronger the fill, the greater the error of the matrix. Greatest: {} in {name}.",
                share(error)
            );
            figure(body, &map(&kinds), &caption);
        }
        None => {
            let _ = writeln!(body, "<p>The artifact does not say what its matrices lost.</p>");
        }
    }
    let headings = ["matrices", "scheme", "count", "bytes", "mean error", "greatest"];
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
    all(body, tensors);
    let _ = writeln!(body, "</section>");
}

/// Kinds down, layers across: how much is filled says how great the error is.
fn map(kinds: &[Kind<'_>]) -> String {
    let kinds: Vec<&Kind<'_>> = kinds.iter().filter(|kind| !kind.by_layer.is_empty()).collect();
    let layers =
        kinds.iter().flat_map(|kind| kind.by_layer.keys()).max().map_or(0, |last| last + 1);
    let most = kinds.iter().flat_map(|kind| kind.by_layer.values()).copied().fold(0.0, f64::max);
    let height = ROW * kinds.len() as f64 + 74.0;
    let mut svg = Svg::new(WIDTH, height, "Relative error of each kind of matrix in each layer");
    let pitch = (WIDTH - LEFT) / layers.max(1) as f64;
    for (row, kind) in kinds.iter().enumerate() {
        let y = ROW * row as f64;
        svg.text("name", [LEFT - 8.0, y + 15.0], Anchor::End, &shortened(&kind.label));
        for (&layer, &error) in &kind.by_layer {
            let title = format!("layer {layer}, {}: {}", kind.label, share(error));
            let x = LEFT + pitch * layer as f64;
            let gap = (pitch * 0.06).min(1.0);
            let size = [pitch - 2.0 * gap, ROW - 2.0];
            svg.shaded("cell", [x + gap, y + 1.0], size, shade(error, most), &title);
        }
    }
    let bottom = ROW * kinds.len() as f64;
    for layer in (0..layers).step_by(every(layers, 24)) {
        let x = LEFT + pitch * (layer as f64 + 0.5);
        svg.text("tick", [x, bottom + 14.0], Anchor::Middle, &layer.to_string());
    }
    svg.text("tick", [(LEFT + WIDTH) / 2.0, bottom + 30.0], Anchor::Middle, "layer");
    legend(&mut svg, bottom + 42.0, most);
    svg.finished()
}

fn legend(svg: &mut Svg, y: f64, most: f64) {
    for step in 0_u8..=4 {
        let error = most * f64::from(step) / 4.0;
        let x = LEFT + 90.0 * f64::from(step);
        svg.shaded("cell", [x, y], [24.0, 16.0], shade(error, most), "");
        svg.text("tick", [x + 30.0, y + 12.0], Anchor::Start, &share(error));
    }
    svg.text("tick", [LEFT - 8.0, y + 12.0], Anchor::End, "error");
}

/// None is still seen as a cell.
fn shade(error: f64, most: f64) -> f64 {
    0.06 + 0.94 * (error / most.max(f64::MIN_POSITIVE)).clamp(0.0, 1.0)
}

/// The matrices with the greatest errors, each by its name.
fn all(body: &mut String, tensors: &[TensorFacts]) {
    let mut sorted: Vec<&TensorFacts> = tensors.iter().collect();
    sorted.sort_by(|a, b| {
        let error = |tensor: &TensorFacts| tensor.relative_error.unwrap_or(-1.0);
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
    let headings = ["matrix", "scheme", "parameters", "bytes", "error"];
    let rows = sorted[..count].iter().map(|tensor| {
        vec![
            tensor.name.clone(),
            tensor.scheme.clone(),
            units::count(tensor.parameters),
            units::bytes(tensor.bytes),
            tensor.relative_error.map(share).unwrap_or_default(),
        ]
    });
    table(body, &headings, rows);
    let _ = writeln!(body, "</details>");
}

/// A label that fits beside the map: its end says more than its beginning.
fn shortened(label: &str) -> String {
    let letters = label.chars().count();
    if letters <= FIT {
        return label.to_owned();
    }
    let end: String = label.chars().skip(letters - FIT + 1).collect();
    format!("…{end}")
}

const WIDTH: f64 = 680.0;
const LEFT: f64 = 168.0;
const ROW: f64 = 22.0;
/// Letters of a label beside the map.
const FIT: usize = 24;
/// A page of all matrices of a large mixture of experts would be slow to open.
const LISTED: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_cell_for_every_kind_in_every_layer() {
        let mut body = String::new();
        section(&mut body, &sample::comparison().tensors);
        assert_eq!(body.matches("<title>layer ").count(), 56);
        assert!(
            body.contains("Greatest: 12.8 % in model.layers.5.mlp.down_proj.weight."),
            "{body}"
        );
        assert!(body.contains("All 56 matrices"));
    }

    #[test]
    fn an_artifact_without_errors_has_a_table_alone() {
        let mut tensors = sample::comparison().tensors;
        tensors.iter_mut().for_each(|tensor| tensor.relative_error = None);
        let mut body = String::new();
        section(&mut body, &tensors);
        assert!(!body.contains("<svg") && body.contains("does not say"), "{body}");
    }

    #[test]
    fn of_many_matrices_the_worst_are_listed() {
        let mut tensors = Vec::new();
        for _ in 0..10 {
            tensors.extend(sample::comparison().tensors);
        }
        let mut body = String::new();
        section(&mut body, &tensors);
        assert!(body.contains("The 300 with the greatest errors of 560 matrices"));
    }

    #[test]
    fn long_labels_keep_their_end() {
        assert_eq!(shortened("mlp.up_proj"), "mlp.up_proj");
        let label = shortened("block_sparse_moe.experts.*.w1");
        assert_eq!(label, "…sparse_moe.experts.*.w1");
    }
}
