//! Which block does the damage.

use super::axis::{Axis, every, percent_tick};
use super::escape::escaped;
use super::parts::{figure, table};
use super::svg::{Anchor, Screen, Svg};
use crate::report::figures::{added_how, worst};
use crate::report::numbers::share;
use llmopt_pipeline::{BlockLoss, Evaluation};
use std::fmt::Write;

pub(super) fn section(body: &mut String, evaluation: &Evaluation) {
    let blocks = &evaluation.blocks;
    let (Some(last), Some(most)) = (blocks.last(), worst(blocks)) else { return };
    let _ = writeln!(body, "<section>\n<h2>Which block does the damage</h2>");
    let added: Vec<f64> = blocks.iter().map(|block| block.added_error).collect();
    let label = "Error that each block adds alone";
    let caption = format!("Block {} adds most: {}.", most.layer, share(most.added_error));
    let marked = blocks.iter().position(|block| block.layer == most.layer);
    figure(body, |screen| columns(screen, blocks, &added, label, marked), &caption);
    let _ = writeln!(body, "<p class=\"aside\">{}</p>", escaped(&added_how(evaluation)));
    let errors: Vec<f64> = blocks.iter().map(|block| block.per_token).collect();
    let label = "Error after each block, of all so far";
    let caption =
        format!("The hidden state is {} off after the last block.", share(last.per_token));
    figure(body, |screen| columns(screen, blocks, &errors, label, None), &caption);
    let _ = writeln!(body, "<details><summary>All blocks</summary>");
    let headings = ["block", "added alone", "after it, token by token", "all tokens together"];
    let rows = blocks.iter().map(|block| {
        vec![
            block.layer.to_string(),
            share(block.added_error),
            share(block.per_token),
            share(block.relative_error),
        ]
    });
    table(body, &headings, rows);
    let _ = writeln!(
        body,
        "<p class=\"aside\">Token by token is the root mean square over tokens; all together, tokens \
         with massive activations, such as the first of a window, decide.</p>\n</details>\n</section>"
    );
}

/// Values that are not negative, block after block.
fn columns(
    screen: Screen,
    blocks: &[BlockLoss],
    values: &[f64],
    label: &str,
    marked: Option<usize>,
) -> String {
    let width = screen.width();
    let most = values.iter().copied().fold(0.0, f64::max);
    let axis = Axis::upward(0.0, most, 40.0, HEIGHT - 34.0);
    let mut svg = Svg::new(width, HEIGHT, label);
    svg.text("heading", [0.0, 14.0], Anchor::Start, label);
    axis.draw(&mut svg, LEFT, width, percent_tick);
    let pitch = (width - LEFT) / values.len() as f64;
    let labelled = every(values.len(), screen.pick(24, 10));
    for (place, (block, &value)) in blocks.iter().zip(values).enumerate() {
        let x = LEFT + pitch * place as f64;
        let (top, bottom) = (axis.at(value), axis.at(0.0));
        let class = if marked == Some(place) { "bar marked" } else { "bar" };
        let title = format!("block {}: {}", block.layer, share(value));
        let (gap, across) = (pitch * 0.12, pitch * 0.76);
        svg.rectangle(class, [x + gap, top], [across, bottom - top], &title);
        let middle = x + pitch / 2.0;
        if marked == Some(place) {
            let (at, anchor) = beside(middle, width);
            svg.text("mark", [at, top - 5.0], anchor, &title);
        }
        if place.is_multiple_of(labelled) {
            svg.text("tick", [middle, HEIGHT - 18.0], Anchor::Middle, &block.layer.to_string());
        }
    }
    svg.text("tick", [(LEFT + width) / 2.0, HEIGHT - 2.0], Anchor::Middle, "block");
    svg.finished()
}

/// Where words about `x` stand so that they stay inside.
fn beside(x: f64, width: f64) -> (f64, Anchor) {
    if x < LEFT + 60.0 {
        (LEFT + 2.0, Anchor::Start)
    } else if x > width - 60.0 {
        (width - 2.0, Anchor::End)
    } else {
        (x, Anchor::Middle)
    }
}

const HEIGHT: f64 = 220.0;
const LEFT: f64 = 56.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_block_that_adds_most_is_named_and_it_is_said_how_that_was_measured() {
        let mut body = String::new();
        section(&mut body, &sample::comparison());
        assert!(body.contains("Block 5 adds most: 3.0 %."), "{body}");
        assert!(body.contains("ran on the hidden states that the reference has"), "{body}");
        assert!(body.contains("over the first 4,096 tokens"), "{body}");
        assert!(body.contains("The hidden state is 5.9 % off after the last block."), "{body}");
        assert_eq!(body.matches("bar marked").count(), 2, "in both widths");
        assert_eq!(body.matches("class=\"bar\"").count(), 30);
    }

    #[test]
    fn no_blocks_have_no_section() {
        let mut body = String::new();
        section(&mut body, &sample::alone());
        assert_eq!(body, "");
    }
}
