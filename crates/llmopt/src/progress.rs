//! What a run tells while it runs: bars on a terminal, a line per finished stage elsewhere, lines of
//! JSON for programs.

use crate::print::{self, Voice};
use crate::units;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use llmopt_pipeline::Events;
use serde_json::json;
use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Draws or writes what [`Events`] report.
pub(crate) struct Progress {
    style: Style,
    stage: Mutex<Stage>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Quiet,
    Json,
    Bars { color: bool },
    Lines,
}

/// The stage that runs.
struct Stage {
    bytes: u64,
    done: u64,
    started: Instant,
    /// When the last line of JSON about progress was written.
    told: Instant,
    bar: ProgressBar,
}

impl Progress {
    /// Speaks on standard error as `voice` asks.
    pub(crate) fn new(voice: Voice) -> Self {
        let style = match voice {
            Voice { quiet: true, .. } => Style::Quiet,
            Voice { json: true, .. } => Style::Json,
            Voice { color, .. } if std::io::stderr().is_terminal() => Style::Bars { color },
            _ => Style::Lines,
        };
        Self { style, stage: Mutex::new(Stage::begun(0, ProgressBar::hidden())) }
    }

    /// A panic elsewhere must not silence progress.
    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Events for Progress {
    fn stage_started(&self, stage: &'static str, bytes: u64) {
        let bar = match self.style {
            Style::Bars { color } => bar(stage, bytes, color),
            _ => ProgressBar::hidden(),
        };
        *self.stage() = Stage::begun(bytes, bar);
        if self.style == Style::Json {
            print::event(&json!({ "event": "stage-started", "stage": stage, "bytes": bytes }));
        }
    }

    fn advanced(&self, bytes: u64, tensor: &str) {
        let mut stage = self.stage();
        stage.done += bytes;
        match self.style {
            Style::Bars { .. } => {
                stage.bar.inc(bytes);
                stage.bar.set_message(tensor.to_owned());
            }
            Style::Json if stage.told.elapsed() >= BETWEEN_EVENTS => {
                stage.told = Instant::now();
                let (done, of) = (stage.done, stage.bytes);
                print::event(
                    &json!({ "event": "advanced", "done": done, "bytes": of, "tensor": tensor }),
                );
            }
            _ => {}
        }
    }

    fn stage_finished(&self, name: &'static str) {
        let stage = self.stage();
        stage.bar.finish_and_clear();
        match self.style {
            Style::Quiet => {}
            Style::Json => print::event(&json!({ "event": "stage-finished", "stage": name })),
            Style::Bars { .. } | Style::Lines => {
                let time = stage.started.elapsed();
                let bytes = units::bytes(stage.done);
                print::say(&format!("{name}: {bytes} in {}", units::duration(time)));
            }
        }
    }

    fn note(&self, text: &str) {
        match self.style {
            Style::Quiet => {}
            Style::Json => print::event(&json!({ "event": "note", "text": text })),
            Style::Bars { .. } | Style::Lines => {
                let bar = self.stage().bar.clone();
                bar.suspend(|| print::say(&format!("note: {text}")));
            }
        }
    }
}

impl Drop for Progress {
    /// A run that fails leaves no half-drawn bar behind.
    fn drop(&mut self) {
        self.stage().bar.finish_and_clear();
    }
}

impl Stage {
    fn begun(bytes: u64, bar: ProgressBar) -> Self {
        let now = Instant::now();
        Self { bytes, done: 0, started: now, told: now, bar }
    }
}

fn bar(stage: &'static str, bytes: u64, color: bool) -> ProgressBar {
    let filled = if color { "{bar:30.cyan}" } else { "{bar:30}" };
    let template = format!(
        "{{prefix}}  {filled}  {{bytes}} of {{total_bytes}}, {{bytes_per_sec}}, {{eta}} left\n  {{wide_msg}}"
    );
    let style = ProgressStyle::with_template(&template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
    bar.with_style(style).with_prefix(stage)
}

/// Programs need no more, and a log should not be drowned.
const BETWEEN_EVENTS: Duration = Duration::from_millis(200);
