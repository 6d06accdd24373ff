//! What a run tells while it runs: a bar on a terminal, lines elsewhere, lines of JSON for programs.
//!
//! Shares and times are of the whole run. In a log a line says that a stage starts, and no silence is
//! longer than [`BETWEEN_LINES`], whatever the stage is at.

mod whole;

use crate::print::{self, Console};
use crate::timing::Timing;
use crate::units;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use llmopt_pipeline::{Events, TimeEstimate};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use whole::Whole;

/// Draws or writes what [`Events`] report.
pub(crate) struct Progress {
    style: Style,
    /// Where lines go.
    out: Box<dyn Fn(&str) + Send + Sync>,
    /// The longest silence.
    between: Duration,
    state: Mutex<State>,
}

/// Progress of a run, until it is dropped.
pub(crate) struct Running(Arc<Progress>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Quiet,
    Json,
    Bars { color: bool },
    Lines,
}

struct State {
    whole: Whole,
    begun: Instant,
    /// The stage that runs, and since when.
    stage: Option<(&'static str, Instant)>,
    /// What was done last.
    tensor: String,
    /// When the last line was written.
    printed: Instant,
    bar: ProgressBar,
    ended: bool,
}

impl Progress {
    /// Of a run that begins now, on standard error as `console` asks. Says first how long it will take, if
    /// that is known.
    pub(crate) fn begin(console: Console, timing: Option<&Timing>) -> Running {
        let style = match console {
            Console { quiet: true, .. } => Style::Quiet,
            Console { json: true, .. } => Style::Json,
            Console { color, .. } if std::io::stderr().is_terminal() => Style::Bars { color },
            _ => Style::Lines,
        };
        let estimate = timing.map(|timing| &timing.estimate);
        let running = Self::with(style, estimate, Box::new(print::say), BETWEEN_LINES);
        if let Some(hint) = timing.and_then(Timing::hint) {
            running.note(&hint);
        }
        running
    }

    fn with(
        style: Style,
        estimate: Option<&TimeEstimate>,
        out: Box<dyn Fn(&str) + Send + Sync>,
        between: Duration,
    ) -> Running {
        let now = Instant::now();
        let bar = match style {
            Style::Bars { color } => bar(color),
            _ => ProgressBar::hidden(),
        };
        let state = State {
            whole: Whole::new(estimate),
            begun: now,
            stage: None,
            tensor: String::new(),
            printed: now,
            bar,
            ended: false,
        };
        let progress = Arc::new(Self { style, out, between, state: Mutex::new(state) });
        if let Some(estimate) = estimate {
            progress.announce(estimate);
        }
        if style != Style::Quiet {
            tick(&progress, between.min(BETWEEN_LOOKS));
        }
        Running(progress)
    }

    fn announce(&self, estimate: &TimeEstimate) {
        let mut state = self.state();
        match self.style {
            Style::Quiet => {}
            Style::Json => self.event(
                &mut state,
                &json!({
                    "event": "estimate", "seconds": estimate.seconds, "stages": estimate.stages
                }),
            ),
            Style::Bars { .. } | Style::Lines => {
                self.say(&mut state, &format!("time  {}", units::about(estimate.seconds)));
            }
        }
    }

    /// A panic elsewhere must not silence progress.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, state: &mut State, text: &str) {
        state.printed = Instant::now();
        state.bar.suspend(|| (self.out)(text));
    }

    fn event(&self, state: &mut State, event: &Value) {
        state.printed = Instant::now();
        (self.out)(&print::event_line(event));
    }

    /// Looks at the clock: a line, if there was none for long.
    fn look(&self) {
        let mut state = self.state();
        if state.ended {
            return;
        }
        match self.style {
            Style::Bars { .. } => state.draw(),
            Style::Lines if state.printed.elapsed() >= self.between => {
                let at = match &*state.tensor {
                    "" => String::new(),
                    tensor => format!(", at `{tensor}`"),
                };
                let line = format!("{}: {}{at}", state.name(), state.standing());
                self.say(&mut state, &line);
            }
            Style::Json if state.printed.elapsed() >= self.between => {
                let mut event = json!({ "event": "progress", "stage": state.name() });
                state.tell(&mut event);
                self.event(&mut state, &event);
            }
            _ => {}
        }
    }

    fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        state.bar.finish_and_clear();
    }
}

impl State {
    fn name(&self) -> &'static str {
        self.stage.map_or("run", |(name, _)| name)
    }

    /// `34.0 % done, about 7 min left`
    fn standing(&self) -> String {
        let share = units::percent(self.whole.share());
        if self.stage.is_none() && !self.whole.is_estimated() {
            return format!("{} so far", units::duration(self.begun.elapsed()));
        }
        match self.whole.left(self.begun.elapsed()) {
            Some(left) => format!("{share} done, {} left", units::about(left.as_secs_f64())),
            None => format!("{share} done"),
        }
    }

    /// Adds to an event how much of the run is done, and how many seconds are left.
    fn tell(&self, event: &mut Value) {
        event["share"] = json!(self.whole.share());
        if let Some(left) = self.whole.left(self.begun.elapsed()) {
            event["seconds_left"] = json!(left.as_secs_f64());
        }
    }

    fn draw(&self) {
        self.bar.set_position((self.whole.share() * STEPS as f64) as u64);
        self.bar.set_prefix(self.name());
        self.bar.set_message(format!("{}\n  {}", self.standing(), self.tensor));
    }
}

impl Events for Progress {
    fn stage_started(&self, stage: &'static str, bytes: u64) {
        let mut state = self.state();
        state.whole.started(stage, bytes);
        state.stage = Some((stage, Instant::now()));
        state.tensor.clear();
        match self.style {
            Style::Quiet => {}
            Style::Json => {
                let mut event = json!({ "event": "stage-started", "stage": stage, "bytes": bytes });
                state.tell(&mut event);
                self.event(&mut state, &event);
            }
            Style::Bars { .. } => state.draw(),
            Style::Lines => {
                let line = format!("{stage}: begins, {}", state.standing());
                self.say(&mut state, &line);
            }
        }
    }

    fn advanced(&self, bytes: u64, tensor: &str) {
        let mut state = self.state();
        state.whole.advanced(bytes);
        tensor.clone_into(&mut state.tensor);
        match self.style {
            Style::Bars { .. } => state.draw(),
            Style::Json if state.printed.elapsed() >= BETWEEN_EVENTS => {
                let (done, bytes) = state.whole.bytes();
                let mut event =
                    json!({ "event": "advanced", "done": done, "bytes": bytes, "tensor": tensor });
                state.tell(&mut event);
                self.event(&mut state, &event);
            }
            _ => {}
        }
    }

    fn worked(&self, share: f64) {
        self.state().whole.worked(share);
    }

    fn passed_over(&self, share: f64) {
        self.state().whole.passed_over(share);
    }

    fn resuming(&self, place: &str) {
        let mut state = self.state();
        match self.style {
            Style::Quiet => {}
            Style::Json => {
                let mut event = json!({ "event": "resuming", "stage": state.name(), "at": place });
                state.tell(&mut event);
                self.event(&mut state, &event);
            }
            Style::Bars { .. } | Style::Lines => {
                let line = format!("{}: resuming at {place}, {}", state.name(), state.standing());
                self.say(&mut state, &line);
            }
        }
    }

    fn stage_finished(&self, name: &'static str) {
        let mut state = self.state();
        state.whole.finished();
        let begun = state.stage.take().map_or_else(Instant::now, |(_, begun)| begun);
        match self.style {
            Style::Quiet => {}
            Style::Json => {
                let mut event = json!({ "event": "stage-finished", "stage": name });
                state.tell(&mut event);
                self.event(&mut state, &event);
            }
            Style::Bars { .. } | Style::Lines => {
                let (bytes, _) = state.whole.bytes();
                let (bytes, time) = (units::bytes(bytes), units::duration(begun.elapsed()));
                self.say(&mut state, &format!("{name}: {bytes} in {time}"));
            }
        }
    }

    fn note(&self, text: &str) {
        let mut state = self.state();
        match self.style {
            Style::Quiet => {}
            Style::Json => self.event(&mut state, &json!({ "event": "note", "text": text })),
            Style::Bars { .. } | Style::Lines => self.say(&mut state, &format!("note: {text}")),
        }
    }
}

impl Running {
    /// For who goes on telling while the run goes on.
    pub(crate) fn shared(&self) -> Arc<Progress> {
        Arc::clone(&self.0)
    }
}

impl Deref for Running {
    type Target = Progress;

    fn deref(&self) -> &Progress {
        &self.0
    }
}

impl Drop for Running {
    /// A run that fails leaves no half-drawn bar behind, and nothing is told of one that has ended.
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Looks at the clock every `pause`, from a thread of its own, until the run ends.
fn tick(progress: &Arc<Progress>, pause: Duration) {
    let progress: Weak<Progress> = Arc::downgrade(progress);
    let ticking = move || {
        while let Some(progress) = progress.upgrade().filter(|progress| !progress.state().ended) {
            progress.look();
            drop(progress);
            std::thread::sleep(pause);
        }
    };
    // Without the thread there are fewer lines, and nothing else is missing.
    let _ = std::thread::Builder::new().name("progress".to_owned()).spawn(ticking);
}

fn bar(color: bool) -> ProgressBar {
    let filled = if color { "{bar:30.cyan}" } else { "{bar:30}" };
    let template = format!("{{prefix}}  {filled}  {{wide_msg}}");
    let style = ProgressStyle::with_template(&template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
    ProgressBar::with_draw_target(Some(STEPS), ProgressDrawTarget::stderr()).with_style(style)
}

/// Programs need no more, and a log should not be drowned.
const BETWEEN_EVENTS: Duration = Duration::from_millis(200);
/// The longest silence of a log, less what a look may come late.
const BETWEEN_LINES: Duration = Duration::from_secs(29);
/// Time left is drawn anew, and silence noticed.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// Steps of a bar.
const STEPS: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use llmopt_pipeline::StageEstimate;
    use std::collections::BTreeMap;

    /// What a run tells in `style`, with lines no further apart than 20 ms.
    fn render(style: Style, run: impl FnOnce(&Progress)) -> Vec<String> {
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let sink = Arc::clone(&lines);
        let out = move |line: &str| sink.lock().unwrap().push(line.to_owned());
        let stages = vec![
            StageEstimate { stage: "calibrate", seconds: 300.0, operations: BTreeMap::new() },
            StageEstimate { stage: "rewrite", seconds: 100.0, operations: BTreeMap::new() },
        ];
        let estimate = TimeEstimate { seconds: 400.0, stages };
        let between = Duration::from_millis(20);
        let running = Progress::with(style, Some(&estimate), Box::new(out), between);
        run(&running);
        drop(running);
        let told = lines.lock().unwrap().clone();
        std::thread::sleep(Duration::from_millis(60));
        assert_eq!(lines.lock().unwrap().len(), told.len(), "nothing is told of what has ended");
        told
    }

    #[test]
    fn a_log_is_never_silent_for_long_though_nothing_advances() {
        let lines = render(Style::Lines, |progress| {
            progress.stage_started("calibrate", 8);
            progress.worked(0.5);
            std::thread::sleep(Duration::from_millis(300));
        });
        assert_eq!(
            lines[..2],
            ["time  about 7 min", "calibrate: begins, 0 % done, about 7 min left"]
        );
        let later = &lines[2..];
        assert!(later.len() >= 3, "{lines:#?}");
        let line = |line: &String| line.starts_with("calibrate: 37.5 % done, about ");
        assert!(later.iter().all(line), "{lines:#?}");
    }

    #[test]
    fn a_run_that_goes_on_says_where_and_counts_from_there() {
        let lines = render(Style::Lines, |progress| {
            progress.stage_started("calibrate", 8);
            progress.passed_over(0.5);
            progress.resuming("layer 3 of 4");
        });
        let expected = "calibrate: resuming at layer 3 of 4, 37.5 % done, about 4 min left";
        assert_eq!(lines[2], expected, "{lines:#?}");
    }

    #[test]
    fn programs_are_told_shares_of_the_run() {
        let lines = render(Style::Json, |progress| {
            progress.stage_started("rewrite", 8);
            progress.passed_over(0.5);
            progress.resuming("`x`");
            std::thread::sleep(Duration::from_millis(100));
        });
        let events: Vec<Value> =
            lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let names: Vec<&str> = events.iter().map(|e| e["event"].as_str().unwrap()).collect();
        assert_eq!(names[..4], ["estimate", "stage-started", "resuming", "progress"]);
        assert_eq!(events[0]["stages"][1]["stage"], "rewrite");
        assert_eq!((&events[1]["share"], &events[3]["share"]), (&json!(0.75), &json!(0.875)));
        assert!(events[3]["seconds_left"].as_f64().unwrap() > 40.0);
    }

    #[test]
    fn quiet_is_quiet() {
        let lines = render(Style::Quiet, |progress| {
            progress.stage_started("rewrite", 8);
            progress.resuming("`x`");
            progress.note("x");
            progress.stage_finished("rewrite");
        });
        assert!(lines.is_empty(), "{lines:#?}");
    }
}
