//! How long a run will take, in words, and which smaller one would do.

use crate::failure::Failure;
use crate::units;
use llmopt_pipeline::{TimeEstimate, Windows};
use serde::Serialize;
use serde_json::{Value, json};

/// What is known of a run's time before it begins.
pub(crate) struct Timing {
    pub(crate) estimate: TimeEstimate,
    smaller: Option<Smaller>,
}

/// A run on less data, by the options that would ask for it.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Smaller {
    samples: Option<usize>,
    window: Option<usize>,
    seconds: f64,
}

/// What a user has asked of the amount of data.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RequestedAmount {
    pub(crate) samples: Option<usize>,
    pub(crate) window: Option<usize>,
}

impl Timing {
    /// That of a run on `windows`, if it is on any. `on` estimates one on others; it is asked where this
    /// one takes long, and its amount was not the user's choice.
    ///
    /// # Errors
    /// Those of `on`.
    pub(crate) fn new<E>(
        estimate: TimeEstimate,
        requested: RequestedAmount,
        windows: Option<Windows>,
        on: impl Fn(Windows) -> Result<TimeEstimate, E>,
    ) -> Result<Self, E> {
        let long =
            estimate.seconds > LONG && (requested.samples.is_none() || requested.window.is_none());
        let Some(windows) = windows.filter(|_| long) else {
            return Ok(Self { estimate, smaller: None });
        };
        let mut smaller = None;
        for (samples, window) in AMOUNTS {
            let requested = Windows {
                windows: requested
                    .samples
                    .map_or(samples.min(windows.windows), |_| windows.windows),
                window: requested.window.map_or(window.min(windows.window), |_| windows.window),
            };
            let seconds = on(requested)?.seconds;
            if seconds < WORTHWHILE * estimate.seconds {
                let differs = |now: usize, then: usize| (then != now).then_some(then);
                smaller = Some(Smaller {
                    samples: differs(windows.windows, requested.windows),
                    window: differs(windows.window, requested.window),
                    seconds,
                });
                if seconds <= LONG {
                    break;
                }
            }
        }
        Ok(Self { estimate, smaller })
    }

    /// As a plan shows it.
    pub(crate) fn render(&self) -> String {
        let whole = units::about(self.estimate.seconds);
        match self.hint() {
            Some(hint) => format!("{whole}; {hint}"),
            None => whole,
        }
    }

    /// What would take less.
    pub(crate) fn hint(&self) -> Option<String> {
        let Smaller { samples, window, seconds } = self.smaller.as_ref()?;
        let samples = samples.map(|samples| format!("--samples {samples}"));
        let window = window.map(|window| format!("--window {window}"));
        let options: Vec<String> = samples.into_iter().chain(window).collect();
        Some(format!("`{}` would take {}", options.join(" "), units::about(*seconds)))
    }

    /// A plan as a JSON document, with the estimate.
    ///
    /// # Errors
    /// If it cannot be one.
    pub(crate) fn document(&self, summary: &impl Serialize) -> Result<Value, Failure> {
        let mut value = serde_json::to_value(summary)
            .map_err(|error| Failure::Standard(std::io::Error::other(error)))?;
        value["estimate"] = json!(self.estimate);
        if let Some(smaller) = &self.smaller {
            value["estimate"]["smaller"] = json!(smaller);
        }
        Ok(value)
    }
}

/// Seconds that nobody minds.
const LONG: f64 = 300.0;
/// The share of the time that something smaller takes at most to be worth a word.
const WORTHWHILE: f64 = 0.7;
/// Samples and windows that are proposed, the first that take no longer than [`LONG`].
const AMOUNTS: [(usize, usize); 4] = [(128, 512), (64, 512), (32, 512), (16, 512)];

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// The hint where every token takes `seconds`.
    fn hint(seconds: f64, requested: RequestedAmount, windows: Windows) -> Option<String> {
        let on = |windows: Windows| -> Result<TimeEstimate, Infallible> {
            let seconds = seconds * (windows.windows * windows.window) as f64;
            Ok(TimeEstimate { seconds, stages: Vec::new() })
        };
        let Ok(estimate) = on(windows);
        let Ok(timing) = Timing::new(estimate, requested, Some(windows), on);
        timing.hint()
    }

    #[test]
    fn what_takes_long_by_default_comes_with_what_would_not() {
        let default = Windows { windows: 128, window: 2048 };
        let free = RequestedAmount::default();
        let check = |seconds, requested, expected: Option<&str>| {
            assert_eq!(hint(seconds, requested, default).as_deref(), expected);
        };
        check(1e-3, free, None);
        check(4e-3, free, Some("`--window 512` would take about 4 min"));
        check(1e-2, free, Some("`--samples 32 --window 512` would take about 3 min"));
        // Nothing that is proposed is quick.
        check(1.0, free, Some("`--samples 16 --window 512` would take about 2 h 20 min"));
        // What the user chose stays.
        let samples = RequestedAmount { samples: Some(128), window: None };
        check(1e-2, samples, Some("`--window 512` would take about 11 min"));
        let window = RequestedAmount { samples: None, window: Some(2048) };
        check(1e-2, window, Some("`--samples 16` would take about 5 min"));
        check(1.0, RequestedAmount { samples: Some(128), window: Some(2048) }, None);
    }

    #[test]
    fn a_plan_for_programs_has_the_estimate() {
        let estimate = TimeEstimate { seconds: 7.0, stages: Vec::new() };
        // Nothing is proposed without windows.
        let on = |_| -> Result<TimeEstimate, Infallible> { panic!("there is nothing to ask") };
        let Ok(timing) = Timing::new(estimate, RequestedAmount::default(), None, on);
        let value = timing.document(&json!({ "model": "m" })).unwrap();
        assert_eq!(value, json!({ "model": "m", "estimate": { "seconds": 7.0, "stages": [] } }));
    }
}
