//! What pages share: their frame, tables, and pictures in both widths.

use super::escape::escaped;
use super::svg::Screen;
use std::fmt::Write;

/// A page of this title, with what it needs.
pub(super) fn document(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta \
         name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta \
         name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n\
         </head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        escaped(title)
    )
}

/// A table whose first column is words and whose others are numbers.
pub(super) fn table(
    body: &mut String,
    headings: &[impl AsRef<str>],
    rows: impl IntoIterator<Item = Vec<String>>,
) {
    let _ = write!(body, "<div class=\"wide\" tabindex=\"0\"><table>\n<thead><tr>");
    for heading in headings {
        let _ = write!(body, "<th scope=\"col\">{}</th>", escaped(heading.as_ref()));
    }
    let _ = writeln!(body, "</tr></thead>\n<tbody>");
    for row in rows {
        let _ = write!(body, "<tr>");
        for (column, cell) in row.iter().enumerate() {
            let cell = escaped(cell);
            let _ = match column {
                0 => write!(body, "<th scope=\"row\">{cell}</th>"),
                _ => write!(body, "<td>{cell}</td>"),
            };
        }
        let _ = writeln!(body, "</tr>");
    }
    let _ = writeln!(body, "</tbody>\n</table></div>");
}

/// A picture in both widths, of which the page shows the one that fits, with the words that say what to
/// see in it.
pub(super) fn figure(body: &mut String, picture: impl Fn(Screen) -> String, caption: &str) {
    let _ = writeln!(body, "<figure>");
    for screen in [Screen::Broad, Screen::Narrow] {
        let _ = writeln!(body, "<div class=\"{}\">{}</div>", screen.name(), picture(screen));
    }
    let _ = writeln!(body, "<figcaption>{}</figcaption>\n</figure>", escaped(caption));
}

const STYLE: &str = include_str!("style.css");
