//! Which block does the damage.

use super::axis::{Axis, every, percent_tick};
use super::svg::{Anchor, Svg};
use super::{figure, table};
use crate::report::figures::{added, worst};
use crate::report::numbers::share;
use llmopt_pipeline::BlockLoss;
use std::fmt::Write;

pub(super) fn section(body: &mut String, blocks: &[BlockLoss]) {
    let Some(last) = blocks.last() else { return };
    let added = added(blocks);
    let most = worst(&added);
    let _ = writeln!(body, "<section>\n<h2>Which block does the damage</h2>");
    let label = "What each block adds to the squared error of the last hidden state";
    let caption = format!("Block {} adds most: {}.", blocks[most].layer, share(added[most]));
    figure(body, &columns(blocks, &added, label, Some(most)), &caption);
    let errors: Vec<f64> = blocks.iter().map(|block| block.per_token).collect();
    let label = "Relative error of the hidden state after each block";
    let caption =
        format!("The hidden state is {} off after the last block.", share(last.per_token));
    figure(body, &columns(blocks, &errors, label, None), &caption);
    let _ = writeln!(body, "<details><summary>All blocks</summary>");
    let headings = ["block", "error, token by token", "error, all tokens together", "added"];
    let rows = blocks.iter().zip(&added).map(|(block, &added)| {
        vec![
            block.layer.to_string(),
            share(block.per_token),
            share(block.relative_error),
            share(added),
        ]
    });
    table(body, &headings, rows);
    let _ = writeln!(
        body,
        "<p class=\"aside\">Token by token is the root mean square over tokens; all together, tokens \
         with massive activations, such as the first of a window, decide. A block that makes up for \
         errors before it adds less than nothing.</p>\n</details>\n</section>"
    );
}

fn columns(blocks: &[BlockLoss], values: &[f64], label: &str, marked: Option<usize>) -> String {
    let (least, most) = values
        .iter()
        .fold((0.0, 0.0), |(least, most), &value| (f64::min(least, value), f64::max(most, value)));
    let axis = Axis::upward(least, most, 34.0, HEIGHT - 34.0);
    let mut svg = Svg::new(WIDTH, HEIGHT, label);
    svg.text("heading", [0.0, 14.0], Anchor::Start, label);
    axis.draw(&mut svg, LEFT, WIDTH, percent_tick);
    let pitch = (WIDTH - LEFT) / values.len() as f64;
    let labelled = every(values.len(), 24);
    for (place, (block, &value)) in blocks.iter().zip(values).enumerate() {
        let x = LEFT + pitch * place as f64;
        let (top, bottom) = (axis.at(value.max(0.0)), axis.at(value.min(0.0)));
        let class = if marked == Some(place) { "bar marked" } else { "bar" };
        let title = format!("block {}: {}", block.layer, share(value));
        let (gap, width) = (pitch * 0.12, pitch * 0.76);
        svg.rectangle(class, [x + gap, top], [width, bottom - top], &title);
        let middle = x + pitch / 2.0;
        if marked == Some(place) {
            let text = format!("block {}: {}", block.layer, share(value));
            let (at, anchor) = beside(middle);
            svg.text("mark", [at, top - 5.0], anchor, &text);
        }
        if place.is_multiple_of(labelled) {
            svg.text("tick", [middle, HEIGHT - 18.0], Anchor::Middle, &block.layer.to_string());
        }
    }
    svg.text("tick", [(LEFT + WIDTH) / 2.0, HEIGHT - 2.0], Anchor::Middle, "block");
    svg.finished()
}

/// Where words about `x` stand so that they stay inside.
fn beside(x: f64) -> (f64, Anchor) {
    if x < LEFT + 60.0 {
        (LEFT + 2.0, Anchor::Start)
    } else if x > WIDTH - 60.0 {
        (WIDTH - 2.0, Anchor::End)
    } else {
        (x, Anchor::Middle)
    }
}

const WIDTH: f64 = 680.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 56.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_block_that_adds_most_is_named() {
        let mut body = String::new();
        section(&mut body, &sample::comparison().blocks);
        assert!(body.contains("Block 5 adds most: 43.6 %."), "{body}");
        assert!(body.contains("The hidden state is 5.9 % off after the last block."), "{body}");
        assert_eq!(body.matches("bar marked").count(), 1);
        assert_eq!(body.matches("class=\"bar\"").count(), 15);
    }

    #[test]
    fn no_blocks_have_no_section() {
        let mut body = String::new();
        section(&mut body, &[]);
        assert_eq!(body, "");
    }
}
