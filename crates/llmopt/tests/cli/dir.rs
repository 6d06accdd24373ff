//! A fresh directory, and the binary run in it.

use crate::synthetic;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// A directory of its own for a test, removed at its end.
pub(crate) struct Dir(TempDir);

/// What a command left behind besides files.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Dir {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// One that holds the trained checkpoint as `tiny-llama/`.
    pub(crate) fn with_tiny_llama() -> Self {
        let dir = Self::new();
        copy(&testdata("tiny-llama"), &dir.path("tiny-llama"));
        dir
    }

    /// One that holds a seeded checkpoint as `model/`, and token ids that it knows.
    pub(crate) fn with_family(family: &str) -> Self {
        let dir = Self::new();
        copy(&testdata("families").join(family), &dir.path("model"));
        dir.write("ids.safetensors", &synthetic::ids((0..6000).map(|i| (i * i * 7 + i / 5) % 96)));
        dir
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) fn json(&self, name: &str) -> serde_json::Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    /// Names in the directory itself, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Every file below `name` with its bytes; `name` itself if it is a file.
    pub(crate) fn tree(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut open = vec![name.to_owned()];
        while let Some(name) = open.pop() {
            if self.path(&name).is_dir() {
                for entry in fs::read_dir(self.path(&name)).unwrap() {
                    open.push(format!("{name}/{}", entry.unwrap().file_name().to_str().unwrap()));
                }
            } else {
                files.insert(name.clone(), self.read(&name));
            }
        }
        files
    }

    pub(crate) fn remove(&self, name: &str) {
        let path = self.path(name);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        }
    }

    /// `llmopt` with arguments separated by spaces, not started yet.
    pub(crate) fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_llmopt"));
        command.args(args.split_whitespace()).current_dir(self.0.path());
        // What a job says there is no part of any test but its own.
        command.env_remove("GITHUB_ACTIONS").env_remove("GITHUB_STEP_SUMMARY");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, args: &str) -> Ran {
        Ran::from(self.command(args).output().unwrap())
    }

    /// Runs what must succeed.
    pub(crate) fn done(&self, args: &str) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(0), "llmopt {args}\n{}{}", ran.stdout, ran.stderr);
        ran
    }

    /// Runs what prints events, and interrupts it as soon as this stage advances.
    pub(crate) fn interrupted(&self, args: &str, stage: &str) {
        let mut begun = false;
        self.interrupted_at(args, |event| {
            begun |= event["stage"] == stage;
            begun && event["event"] == "advanced"
        });
    }

    /// Runs what prints events, and interrupts it at one of them.
    pub(crate) fn interrupted_at(&self, args: &str, at: impl FnMut(&Value) -> bool) {
        let mut child = self.command(args).spawn().unwrap();
        progress(&mut child, at);
        interrupt(&child);
        assert_eq!(child.wait().unwrap().code(), Some(130), "llmopt {args}");
    }

    /// Runs what must fail with exactly this on standard error, and nothing on standard output.
    pub(crate) fn refused(&self, args: &str, code: i32, stderr: &str) {
        let found = self.run(args);
        let expected = Ran { code: Some(code), stdout: String::new(), stderr: stderr.to_owned() };
        assert_eq!(found, expected, "llmopt {args}\n{}", found.stderr);
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Events of a running command, up to one that `ends` them.
pub(crate) fn progress(child: &mut Child, mut ends: impl FnMut(&Value) -> bool) -> Vec<Value> {
    let lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
    let mut events: Vec<Value> = Vec::new();
    for line in lines {
        events.push(serde_json::from_str(&line.unwrap()).unwrap());
        if ends(events.last().unwrap()) {
            break;
        }
    }
    events
}

/// Sends SIGINT.
pub(crate) fn interrupt(child: &Child) {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

pub(crate) fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
