//! What shrank.

use super::parts::figure;
use super::svg::{Anchor, Screen, Svg};
use crate::units;
use llmopt_pipeline::{ClassSize, Evaluation};
use std::fmt::Write;

pub(super) fn section(body: &mut String, evaluation: &Evaluation) {
    let mut classes: Vec<&ClassSize> = evaluation.classes.iter().collect();
    if classes.is_empty() {
        return;
    }
    let reference = evaluation.reference.as_ref();
    let heading = if reference.is_some() { "What shrank" } else { "What weighs most" };
    let _ = writeln!(body, "<section>\n<h2>{heading}</h2>");
    classes.sort_by_key(|class| {
        std::cmp::Reverse(class.bytes_before.unwrap_or(0).max(class.bytes_after))
    });
    let after = evaluation.artifact.bytes;
    let caption = match reference {
        None => format!("The weight files take {}.", units::bytes(after)),
        Some(reference) => format!(
            "The weight files took {}, and take {}: {}. Outlines are before, filled bars after.",
            units::bytes(reference.bytes),
            units::bytes(after),
            units::share(after, reference.bytes)
        ),
    };
    figure(body, |screen| picture(screen, &classes), &caption);
    let _ = writeln!(body, "</section>");
}

fn picture(screen: Screen, classes: &[&ClassSize]) -> String {
    let width = screen.width();
    let most = classes
        .iter()
        .map(|class| class.bytes_before.unwrap_or(0).max(class.bytes_after))
        .max()
        .unwrap_or(1);
    // Names stand beside what is said of them or, where that is too long, above it.
    let (left, first, row_height) = screen.pick((96.0, 0.0, 44.0), (0.0, 16.0, 60.0));
    let scale = (width - left - 4.0) / most.max(1) as f64;
    let height = row_height * classes.len() as f64;
    let mut svg = Svg::new(width, height, "Bytes of weights by what they are for");
    for (row, class) in classes.iter().enumerate() {
        let y = row_height * row as f64 + first;
        let text = render(class);
        match screen {
            Screen::Broad => {
                svg.text("name", [left - 10.0, y + 30.0], Anchor::End, &class.class);
            }
            Screen::Narrow => {
                let parameters = units::count(class.parameters);
                let name = format!("{}, {parameters} parameters", class.class);
                svg.text("name", [left, y - 2.0], Anchor::Start, &name);
            }
        }
        let value = match screen {
            Screen::Broad => format!("{text}, {} parameters", units::count(class.parameters)),
            Screen::Narrow => text.clone(),
        };
        svg.text("value", [left, y + 15.0], Anchor::Start, &value);
        if let Some(before) = class.bytes_before {
            svg.rectangle("before", [left, y + 21.0], [before as f64 * scale, 13.0], &text);
        }
        let across = class.bytes_after as f64 * scale;
        svg.rectangle("bar", [left, y + 21.0], [across, 13.0], &text);
    }
    svg.finished()
}

/// `7.00 MiB to 1.86 MiB, 26.6 %`
fn render(class: &ClassSize) -> String {
    let after = units::bytes(class.bytes_after);
    match class.bytes_before {
        Some(before) if before != class.bytes_after => {
            let share = units::share(class.bytes_after, before);
            format!("{} to {after}, {share}", units::bytes(before))
        }
        Some(_) => format!("{after}, as before"),
        None => after,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_largest_comes_first() {
        let mut body = String::new();
        section(&mut body, &sample::comparison());
        let place = |text: &str| body.find(text).unwrap_or_else(|| panic!("no {text}\n{body}"));
        assert!(place(">embedding<") < place(">linear<") && place(">linear<") < place(">norm<"));
        place("8.00 MiB, as before, 4,194,304 parameters");
        place("7.00 MiB to 1.86 MiB, 26.6 %, 3,670,016 parameters");
        // The size of the whole is that of every other place.
        place("The weight files took 15.01 MiB, and take 9.87 MiB: 65.7 %.");
    }

    #[test]
    fn a_model_alone_has_no_before() {
        let mut alone = sample::alone();
        alone.classes = sample::comparison().classes;
        alone.classes.iter_mut().for_each(|class| class.bytes_before = None);
        let mut body = String::new();
        section(&mut body, &alone);
        assert!(body.contains("What weighs most") && !body.contains("before"), "{body}");
    }
}
