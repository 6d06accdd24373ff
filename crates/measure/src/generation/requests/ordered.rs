//! Answers, which come in any order, written in the order of the requests.

use super::line::Line;
use llmopt_checkpoint::GrowingFile;
use llmopt_run::{Error, Events};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

/// What became of a file of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Answered {
    /// How many there were.
    pub requests: usize,
    /// How many of them got an error.
    pub errors: usize,
    /// Tokens of all prompts that were answered.
    pub prompt_tokens: u64,
    /// Tokens of all answers.
    pub completion_tokens: u64,
}

/// Where lines go.
pub(super) enum Sink<'a> {
    File(GrowingFile),
    Lines(&'a mut (dyn FnMut(&str) -> io::Result<()> + Send)),
}

/// Holds each answer until those before it are written.
pub(super) struct InOrder<'a> {
    /// Id of each request, and the bytes of its line.
    requests: Vec<(String, usize)>,
    next: usize,
    waiting: BTreeMap<usize, (String, u64)>,
    sink: Sink<'a>,
    events: &'a dyn Events,
    answered: Answered,
}

impl<'a> InOrder<'a> {
    pub(super) fn new(lines: &[Line], sink: Sink<'a>, events: &'a dyn Events) -> Self {
        let request = |line: &Line| (line.custom_id.clone(), line.bytes);
        let requests: Vec<_> = lines.iter().map(request).collect();
        events.stage_started(STAGE, requests.iter().map(|(_, bytes)| *bytes as u64).sum());
        let (waiting, answered) = (BTreeMap::new(), Answered::default());
        Self { requests, next: 0, waiting, sink, events, answered }
    }

    /// The number of the first request without an answer that is written.
    pub(super) fn next(&self) -> usize {
        self.next
    }

    /// Goes on behind the answers that an earlier run has written.
    ///
    /// # Errors
    /// If they are not those of the first requests.
    pub(super) fn resume(&mut self, written: Vec<String>) -> Result<(), Error> {
        if written.is_empty() {
            return Ok(());
        }
        let all = self.requests.len();
        self.events.resuming(&format!("request {} of {all}", (written.len() + 1).min(all)));
        for line in written {
            let answer = self.answered.count(&line);
            let (id, bytes) = self.requests.get(self.next).ok_or_else(Self::other)?;
            if answer["custom_id"] != id.as_str() {
                return Err(Self::other());
            }
            self.events.advanced(*bytes as u64, id);
            self.next += 1;
        }
        Ok(())
    }

    fn other() -> Error {
        Error::RefusedWithHint {
            what: "the answers of an interrupted run are not those of these requests".to_owned(),
            hint: "remove the file that ends in `.partial`".to_owned(),
        }
    }

    /// Takes the answer of a request, for which so many bytes are set aside, and writes what can be
    /// written. Returns how many bytes are free then.
    pub(super) fn put(&mut self, number: usize, line: String, bytes: u64) -> Result<u64, Error> {
        self.waiting.insert(number, (line, bytes));
        let (mut lines, mut free) = (Vec::new(), 0);
        while let Some((line, bytes)) = self.waiting.remove(&(self.next + lines.len())) {
            lines.push(line);
            free += bytes;
        }
        self.sink.append(&lines)?;
        for line in &lines {
            self.answered.count(line);
            let (id, bytes) = &self.requests[self.next];
            self.events.advanced(*bytes as u64, id);
            self.next += 1;
        }
        Ok(free)
    }

    /// An interruption that loses nothing, where answers are kept.
    pub(super) fn kept(&self, error: Error) -> Error {
        match (error, &self.sink) {
            (Error::Interrupted, Sink::File(_)) => Error::Paused,
            (error, _) => error,
        }
    }

    /// Gives the output its name.
    pub(super) fn finish(self) -> Result<Answered, Error> {
        if let Sink::File(file) = self.sink {
            file.publish()?;
        }
        self.events.stage_finished(STAGE);
        Ok(self.answered)
    }
}

impl Sink<'_> {
    fn append(&mut self, lines: &[String]) -> Result<(), Error> {
        match self {
            _ if lines.is_empty() => Ok(()),
            Self::File(file) => Ok(file.append(lines)?),
            Self::Lines(take) => lines.iter().try_for_each(|line| take(line)).map_err(|error| {
                let path = PathBuf::from("-");
                llmopt_checkpoint::Error::Write { path, error }.into()
            }),
        }
    }
}

impl Answered {
    /// Counts an answer, and returns it.
    fn count(&mut self, line: &str) -> Value {
        let answer: Value = serde_json::from_str(line).unwrap_or_default();
        let usage = &answer["response"]["body"]["usage"];
        let tokens = |key: &str| usage[key].as_u64().unwrap_or(0);
        self.requests += 1;
        self.errors += usize::from(!answer["error"].is_null());
        self.prompt_tokens += tokens("prompt_tokens");
        self.completion_tokens += tokens("completion_tokens");
        answer
    }
}

/// What progress calls it.
const STAGE: &str = "answer";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::requests::line::parsed;
    use llmopt_run::Silent;

    #[test]
    fn answers_wait_for_those_before_them() {
        let line = |id| format!(r#"{{"custom_id":"{id}","method":"POST","url":"","body":{{}}}}"#);
        let lines = parsed(&[line("a"), line("b"), line("c")].join("\n"), "x").expect("requests");
        let mut written = Vec::new();
        let mut take = |line: &str| {
            written.push(line.to_owned());
            Ok(())
        };
        let mut answers = InOrder::new(&lines, Sink::Lines(&mut take), &Silent);
        let mut put =
            |number, bytes| answers.put(number, number.to_string(), bytes).expect("a line");
        assert_eq!(put(2, 4), 0);
        assert_eq!(put(0, 1), 1);
        assert_eq!(put(1, 2), 6);
        assert_eq!(answers.next(), 3);
        drop(answers);
        assert_eq!(written, ["0", "1", "2"]);
    }
}
