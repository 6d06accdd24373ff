//! Pictures of rectangles, lines and words.

use super::escape::escaped;
use std::fmt::Write;

/// What a picture is drawn for. Words keep their size, so that both can be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Screen {
    /// A page's full width.
    Broad,
    /// A telephone: 375 pixels with their margins.
    Narrow,
}

impl Screen {
    /// The class under which the page shows it, or hides it.
    pub(super) fn name(self) -> &'static str {
        self.pick("broad", "narrow")
    }

    /// Pixels across.
    pub(super) fn width(self) -> f64 {
        self.pick(680.0, 340.0)
    }

    /// What differs between the two.
    pub(super) fn pick<T>(self, broad: T, narrow: T) -> T {
        if self == Self::Broad { broad } else { narrow }
    }
}

/// A picture in its own coordinates; the page scales it.
pub(super) struct Svg {
    width: f64,
    height: f64,
    label: String,
    body: String,
}

/// Where a word stands to its point.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    /// An empty picture; `label` says what it shows to those who do not see it.
    pub(super) fn new(width: f64, height: f64, label: impl Into<String>) -> Self {
        Self { width, height, label: label.into(), body: String::new() }
    }

    /// A rectangle, which says `title` when pointed at.
    pub(super) fn rectangle(&mut self, class: &str, [x, y]: [f64; 2], size: [f64; 2], title: &str) {
        self.shaded(class, [x, y], size, 1.0, title);
    }

    /// A rectangle of which so much is seen.
    pub(super) fn shaded(
        &mut self,
        class: &str,
        [x, y]: [f64; 2],
        [width, height]: [f64; 2],
        shade: f64,
        title: &str,
    ) {
        let shade =
            if shade < 1.0 { format!(" fill-opacity=\"{shade:.3}\"") } else { String::new() };
        let title = match title {
            "" => String::new(),
            title => format!("<title>{}</title>", escaped(title)),
        };
        let _ = writeln!(
            self.body,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\"\
             {shade}>{title}</rect>",
            width.max(0.0),
            height.max(0.0)
        );
    }

    pub(super) fn line(&mut self, class: &str, from: [f64; 2], to: [f64; 2]) {
        let ([x1, y1], [x2, y2]) = (from, to);
        let _ = writeln!(
            self.body,
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        );
    }

    pub(super) fn text(&mut self, class: &str, [x, y]: [f64; 2], anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = writeln!(
            self.body,
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
            escaped(text)
        );
    }

    pub(super) fn finished(self) -> String {
        let Self { width, height, label, body } = self;
        format!(
            "<svg viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"{}\">\n{body}</svg>",
            escaped(&label)
        )
    }
}
