//! Outputs made, resumed, replaced, and refused.

use super::*;
use crate::Blame;
use crate::fixtures::Folder;
use std::os::unix::fs::symlink;

fn begin(folder: &Folder, force: bool) -> Result<Output, Error> {
    let source = folder.join("in");
    Output::begin(&folder.join("out"), OutputOptions { force, file: false, source: &source })
}

fn begin_file(folder: &Folder, force: bool) -> Result<Output, Error> {
    let source = folder.join("in.safetensors");
    let target = folder.join("out.safetensors");
    Output::begin(&target, OutputOptions { force, file: true, source: &source })
}

fn input() -> Folder {
    Folder::new().with("in/config.json", "{}")
}

fn names(keep: &[&str]) -> Vec<String> {
    keep.iter().map(|&name| name.to_owned()).collect()
}

fn check(folder: &Folder, expected: &[(&str, &str)]) {
    let found = folder.files();
    let found: Vec<_> = found.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    assert_eq!(found, expected);
}

#[test]
fn an_output_has_its_name_only_when_complete() {
    let folder = input().with("in/code/x.py", "code");
    let output = begin(&folder, false).unwrap();
    let (lines, mut journal) = output.journal("work").unwrap();
    assert!(lines.is_empty());
    let file = output.create("w.safetensors", 6).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| file.write_at(3, b"def").unwrap());
        scope.spawn(|| file.write_at(0, b"abc").unwrap());
    });
    file.sync().unwrap();
    journal.append(&names(&["[0]"])).unwrap();
    let mut middle = [0; 2];
    file.read_at(2, &mut middle).unwrap();
    assert_eq!(&middle, b"cd");
    assert!(file.write_at(4, b"too long").is_err());

    output.write("config.json", b"{}").unwrap();
    output.write("scratch/notes", b"not kept").unwrap();
    let hash = output.copy(&folder.join("in/code/x.py"), "code/x.py").unwrap();
    assert_eq!(hash, crate::sha256(b"code"));
    assert!(!folder.join("out").exists());
    output.publish(&names(&["w.safetensors", "config.json", "code/x.py"])).unwrap();
    check(
        &folder,
        &[
            ("in/code/x.py", "code"),
            ("in/config.json", "{}"),
            ("out/code/x.py", "code"),
            ("out/config.json", "{}"),
            ("out/w.safetensors", "abcdef"),
        ],
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_killed_run_goes_on_and_other_work_starts_anew() {
    let folder = input();
    let attempt = |identity: &str, expected_lines: &[&str], expected_content: &[u8; 3]| {
        let output = begin(&folder, false).unwrap();
        let (lines, mut journal) = output.journal(identity).unwrap();
        assert_eq!(lines, expected_lines, "{identity}");
        let file = output.create("w", 3).unwrap();
        let mut content = [9; 3];
        file.read_at(0, &mut content).unwrap();
        assert_eq!(&content, expected_content, "{identity}");
        file.write_at(0, b"abc").unwrap();
        journal.append(&names(&["{\"line\":1}", "2"])).unwrap();
    };
    attempt("one", &[], &[0; 3]);
    attempt("one", &["{\"line\":1}", "2"], b"abc");
    attempt("two", &[], &[0; 3]);
    let output = begin(&folder, false).unwrap();
    assert_eq!(output.open_existing("w").unwrap().bytes(), 3);
    output.create("w", 2).unwrap();
    assert_eq!(output.open_existing("w").unwrap().bytes(), 2);
    output.discard().unwrap();
    check(&folder, &[("in/config.json", "{}")]);
}

#[test]
fn force_replaces_a_model_at_the_end_and_leaves_nothing_behind() {
    let folder = input().with("out/llmopt.json", "old").with("out/x", "old");
    let output = begin(&folder, true).unwrap();
    output.write("new", b"new").unwrap();
    assert!(folder.join("out/x").exists());
    output.publish(&names(&["new"])).unwrap();
    check(&folder, &[("in/config.json", "{}"), ("out/new", "new")]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn an_interrupted_replacement_is_ended() {
    // Killed before the new output took its place: the old one is back.
    let folder = input().with("out.replaced/old/config.json", "old");
    assert_eq!(folder.text(begin(&folder, false).unwrap_err()), "`DIR/out` exists already");
    assert_eq!(fs::read(folder.join("out/config.json")).unwrap(), b"old");
    assert!(!folder.join("out.replaced").exists());

    // Killed while the old one was removed.
    let folder = input().with("out/config.json", "new").with("out.replaced/old/rest", "old");
    begin(&folder, true).unwrap().discard().unwrap();
    check(&folder, &[("in/config.json", "{}"), ("out/config.json", "new")]);

    let folder = input().with("out.replaced/mine", "");
    assert_eq!(folder.text(begin(&folder, true).unwrap_err()), "`DIR/out.replaced` is in the way");
    assert!(folder.join("out.replaced/mine").exists());
}

#[test]
fn the_lock_of_a_run_that_was_killed_behind_its_last_rename_goes() {
    let folder = input().with("out/config.json", "new").with("out/.lock", "");
    assert_eq!(folder.text(begin(&folder, false).unwrap_err()), "`DIR/out` exists already");
    check(&folder, &[("in/config.json", "{}"), ("out/config.json", "new")]);
}

#[test]
fn the_journal_goes_before_anything_that_it_may_tell_of() {
    let many = |folder: Folder| {
        (0..500).fold(folder, |folder, n| folder.with(&format!("out.partial/stages/{n}"), ""))
    };
    let watched = |remove: &(dyn Fn(Output) + Sync)| {
        let folder = input();
        let output = begin(&folder, false).unwrap();
        drop(output.journal("work").unwrap());
        output.write("new", b"new").unwrap();
        let folder = many(folder);
        let stages = folder.join("out.partial/stages");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while fs::read_dir(&stages).is_ok_and(|names| names.count() == 500) {}
                assert!(!folder.join("out.partial/.journal").exists());
            });
            remove(output);
        });
    };
    watched(&|output| output.publish(&names(&["new"])).unwrap());
    watched(&|output| output.discard().unwrap());
    watched(&|output| drop(output.journal("other work").unwrap()));
}

#[test]
fn a_file_output_is_published_with_its_weights_last() {
    let folder = Folder::new().with("in.safetensors", "in").with("out.llmopt.json", "stale");
    let output = begin_file(&folder, false).unwrap();
    output.journal("work").unwrap();
    output.create("out.safetensors", 1).unwrap().write_at(0, b"w").unwrap();
    output.write("out.llmopt.json", b"report").unwrap();
    output.publish(&names(&["out.safetensors", "out.llmopt.json"])).unwrap();
    let expected =
        [("in.safetensors", "in"), ("out.llmopt.json", "report"), ("out.safetensors", "w")];
    check(&folder, &expected);
    assert_eq!(
        folder.text(begin_file(&folder, false).unwrap_err()),
        "`DIR/out.safetensors` exists already"
    );
    begin_file(&folder, true).unwrap().discard().unwrap();
    check(&folder, &expected);
}

#[test]
fn what_appeared_meanwhile_is_not_replaced() {
    let folder = input();
    let output = begin(&folder, false).unwrap();
    output.write("new", b"new").unwrap();
    let folder = folder.with("out/x", "theirs");
    assert_eq!(
        folder.text(output.publish(&names(&["new"])).unwrap_err()),
        "`DIR/out` exists already"
    );
    assert_eq!(fs::read(folder.join("out.partial/new")).unwrap(), b"new");
}

#[test]
fn a_kept_file_that_is_not_there_stops_the_publication() {
    let folder = input();
    let output = begin(&folder, false).unwrap();
    assert_eq!(
        folder.text(output.publish(&names(&["w"])).unwrap_err()),
        "`DIR/out.partial/w` cannot be written: No such file or directory (os error 2)"
    );
    assert!(!folder.join("out").exists());
}

#[test]
fn a_full_disk_is_found_at_the_start() {
    let folder = input();
    let output = begin(&folder, false).unwrap();
    let error = output.create("w", 1 << 60).unwrap_err();
    let Error::DiskFull { free, .. } = error else { panic!("{error}") };
    assert_eq!(
        folder.text(&error),
        format!(
            "`DIR/out.partial/w` needs 1152921504606846976 bytes, but the disk has only {free} free"
        )
    );
    assert_eq!(error.blame(), Blame::System);
    assert!(!folder.join("out.partial/w").exists());
}

#[test]
fn every_other_target_is_refused_and_nothing_is_written() {
    let refuse = |folder: &Folder, target: &str, source: &str, options: &str, expected: &str| {
        let before = folder.files();
        let source = folder.join(source);
        let (force, file) = (options.contains("force"), options.contains("file"));
        let options = OutputOptions { force, file, source: &source };
        let error = Output::begin(&folder.join(target), options).unwrap_err();
        assert_eq!(folder.text(&error), expected);
        assert_eq!(error.blame(), Blame::Request);
        assert_eq!(folder.files(), before, "{expected}");
        assert!(!folder.join(&format!("{target}.partial")).exists(), "{expected}");
    };
    let f = input()
        .with("in/w.safetensors", "")
        .with("exists/config.json", "")
        .with("photos/summer.jpg", "")
        .with("notes", "")
        .with("y.partial/config.json", "");
    symlink(f.join("in"), f.join("link")).unwrap();
    symlink(f.join("exists"), f.join("linked")).unwrap();
    let cases = [
        ("in", "in", "force", "the output `DIR/in` is the input `DIR/in`"),
        ("link", "in", "force", "the output `DIR/link` is the input `DIR/in`"),
        ("in", "link", "force", "the output `DIR/in` is the input `DIR/link`"),
        ("in/out", "in", "", "the output `DIR/in/out` lies inside the input `DIR/in`"),
        ("link/a/b", "in", "", "the output `DIR/link/a/b` lies inside the input `DIR/in`"),
        ("no/../in/out", "in", "", "the output `DIR/no/../in/out` lies inside the input `DIR/in`"),
        (
            "in",
            "in/w.safetensors",
            "force",
            "the output `DIR/in` contains the input `DIR/in/w.safetensors`",
        ),
        (
            "in/w.safetensors",
            "in/w.safetensors",
            "file force",
            "the output `DIR/in/w.safetensors` is the input `DIR/in/w.safetensors`",
        ),
        ("exists", "in", "", "`DIR/exists` exists already"),
        ("notes", "in", "file", "`DIR/notes` exists already"),
        (
            "photos",
            "in",
            "force",
            "`DIR/photos` exists and is a folder that is no model, which is never replaced",
        ),
        (
            "exists",
            "in",
            "file force",
            "`DIR/exists` exists and is a folder, which is never replaced",
        ),
        ("notes", "in", "force", "`DIR/notes` exists and is a file, which is never replaced"),
        ("linked", "in", "force", "`DIR/linked` exists and is a link, which is never replaced"),
    ];
    for (target, source, options, expected) in cases {
        refuse(&f, target, source, options, expected);
    }
    // The staging folder of this output would be the input itself.
    let error = Output::begin(
        &f.join("y"),
        OutputOptions { force: false, file: false, source: &f.join("y.partial") },
    );
    assert_eq!(
        f.text(error.unwrap_err()),
        "the output `DIR/y.partial` is the input `DIR/y.partial`"
    );
    let options = OutputOptions { force: true, file: false, source: &f.join("in") };
    let error = Output::begin(Path::new("/"), options);
    assert_eq!(error.unwrap_err().to_string(), "`/` does not name an output");
}

#[test]
fn one_run_at_a_time_writes_an_output() {
    let folder = input();
    let held = begin(&folder, false).unwrap();
    assert_eq!(
        folder.text(begin(&folder, false).unwrap_err()),
        "another run is writing `DIR/out.partial`"
    );
    drop(held);
    begin(&folder, false).unwrap();
}

#[test]
fn names_stay_inside_the_output() {
    let folder = input();
    let output = begin(&folder, false).unwrap();
    for name in ["", "/etc/x", "../x", "a/../b", ".journal", ".lock"] {
        assert_eq!(
            output.write(name, b"").unwrap_err().to_string(),
            format!("`{name}` is not the name of a file inside the output")
        );
    }
    let folder = Folder::new();
    let output = begin_file(&folder, false).unwrap();
    assert!(output.write("a/b", b"").is_err());
}

#[test]
fn what_an_interrupted_output_left_is_removed_and_nothing_else() {
    let folder = input().with("out.partial/mine", "not begun by an output");
    let target = folder.join("out");
    Output::discard_left(&target).unwrap();
    check(&folder, &[("in/config.json", "{}"), ("out.partial/mine", "not begun by an output")]);
    let output = begin(&folder, false).unwrap();
    output.write("w.safetensors", b"abc").unwrap();
    assert!(output.is_for(&target.join("")) && !output.is_for(&folder.join("in")));
    Output::discard_left(&target).unwrap();
    assert!(output.partial_path().join("w.safetensors").exists(), "it is being written");
    drop(output);
    Output::discard_left(&target).unwrap();
    check(&folder, &[("in/config.json", "{}")]);
    Output::discard_left(&target).unwrap();
}
