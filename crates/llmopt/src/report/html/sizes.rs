//! What shrank.

use super::figure;
use super::svg::{Anchor, Svg};
use crate::units;
use llmopt_pipeline::ClassSize;
use std::fmt::Write;

pub(super) fn section(body: &mut String, classes: &[ClassSize]) {
    let before: u64 = classes.iter().filter_map(|class| class.bytes_before).sum();
    let after: u64 = classes.iter().map(|class| class.bytes_after).sum();
    if after == 0 {
        return;
    }
    let _ = writeln!(
        body,
        "<section>\n<h2>{}</h2>",
        if before > 0 { "What shrank" } else { "What weighs most" }
    );
    let mut classes: Vec<&ClassSize> = classes.iter().collect();
    classes.sort_by_key(|class| {
        std::cmp::Reverse(class.bytes_before.unwrap_or(0).max(class.bytes_after))
    });
    let caption = match before {
        0 => format!("All weights take {}.", units::bytes(after)),
        before => format!(
            "All weights took {}, and take {}: {}. Outlines are before, filled bars after.",
            units::bytes(before),
            units::bytes(after),
            units::share(after, before)
        ),
    };
    figure(body, &picture(&classes), &caption);
    let _ = writeln!(body, "</section>");
}

fn picture(classes: &[&ClassSize]) -> String {
    let most = classes
        .iter()
        .map(|class| class.bytes_before.unwrap_or(0).max(class.bytes_after))
        .max()
        .unwrap_or(1);
    let scale = (WIDTH - LEFT - 4.0) / most.max(1) as f64;
    let height = ROW * classes.len() as f64;
    let mut svg = Svg::new(WIDTH, height, "Bytes of weights by what they are for");
    for (row, class) in classes.iter().enumerate() {
        let y = ROW * row as f64;
        svg.text("name", [LEFT - 10.0, y + 30.0], Anchor::End, &class.class);
        let after = units::bytes(class.bytes_after);
        let told = match class.bytes_before {
            Some(before) if before != class.bytes_after => format!(
                "{} to {after}, {}",
                units::bytes(before),
                units::share(class.bytes_after, before)
            ),
            Some(_) => format!("{after}, as before"),
            None => after,
        };
        let told = format!("{told}, {} parameters", units::count(class.parameters));
        svg.text("value", [LEFT, y + 15.0], Anchor::Start, &told);
        if let Some(before) = class.bytes_before {
            svg.rectangle("before", [LEFT, y + 21.0], [before as f64 * scale, 13.0], &told);
        }
        let width = class.bytes_after as f64 * scale;
        svg.rectangle("bar", [LEFT, y + 21.0], [width, 13.0], &told);
    }
    svg.finished()
}

const WIDTH: f64 = 680.0;
const LEFT: f64 = 96.0;
const ROW: f64 = 44.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_largest_comes_first() {
        let mut body = String::new();
        section(&mut body, &sample::comparison().classes);
        let place = |text: &str| body.find(text).unwrap_or_else(|| panic!("no {text}\n{body}"));
        assert!(place(">embedding<") < place(">linear<") && place(">linear<") < place(">norm<"));
        place("8.00 MiB, as before, 4,194,304 parameters");
        place("7.00 MiB to 1.86 MiB, 26.6 %, 3,670,016 parameters");
    }

    #[test]
    fn a_model_alone_has_no_before() {
        let mut classes = sample::comparison().classes;
        classes.iter_mut().for_each(|class| class.bytes_before = None);
        let mut body = String::new();
        section(&mut body, &classes);
        assert!(body.contains("What weighs most") && !body.contains("before"), "{body}");
    }
}
