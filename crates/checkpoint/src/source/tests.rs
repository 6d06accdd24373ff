//! Good folders, and every bad one that this crate can see.

use super::*;
use crate::Blame;
use crate::fixtures::{Folder, raw_shard, shard};
use std::os::unix::fs::symlink;

const BYTE: &str = r#"{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"#;

/// An index that maps each tensor to a shard.
fn index(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> =
        pairs.iter().map(|(tensor, file)| format!("\"{tensor}\":\"{file}\"")).collect();
    format!(r#"{{"metadata":{{}},"weight_map":{{{}}}}}"#, pairs.join(","))
}

fn sharded(pairs: &[(&str, &str)]) -> Folder {
    Folder::new().with(CONFIG, "{}").with(INDEX, index(pairs))
}

/// Opens `name` in the folder; the tensors with their shards.
fn check(folder: &Folder, name: &str, expected: &[(&str, &str)]) -> Source {
    let source = Source::open(&folder.join(name)).unwrap();
    let found: Vec<(&str, &str)> = source
        .tensors()
        .map(|(tensor, _)| (tensor, source.entry(tensor).unwrap().0.name.as_str()))
        .collect();
    assert_eq!(found, expected);
    source
}

#[test]
fn the_index_alone_says_which_shards_belong_to_the_model() {
    let folder = sharded(&[("a", "y.safetensors"), ("b", "x.safetensors"), ("c", "y.safetensors")])
        .with("x.safetensors", shard(&["b"]))
        .with("y.safetensors", shard(&["c", "a"]))
        .with("z.safetensors", "stale")
        .with("tokenizer.json", "{}");
    let source = check(
        &folder,
        "",
        &[("a", "y.safetensors"), ("b", "x.safetensors"), ("c", "y.safetensors")],
    );
    assert!(source.is_folder() && source.wants_folder_output());
    assert!(source.index().unwrap().has_metadata);
    assert_eq!(source.config_bytes(), Some(&b"{}"[..]));
    assert_eq!(source.side_files(), [SideFile { name: "tokenizer.json".into(), bytes: 2 }]);

    let (shard, entry) = source.entry("a").unwrap();
    let mut byte = [7];
    shard.read_tensor(entry, 0..1, &mut byte).unwrap();
    assert_eq!(byte, [1], "`a` is the second tensor of its shard");
    assert!(shard.read_tensor(entry, 0..2, &mut [0; 2]).is_err());
    assert!(shard.read_tensor(entry, 0..1, &mut []).is_err());
    assert_eq!(shard.sha256().unwrap(), crate::sha256_file(shard.path()).unwrap());
}

#[test]
fn without_an_index_one_file_or_all_are_the_model() {
    let folder = Folder::model().with("adapter.safetensors", shard(&["x"]));
    check(&folder, "", &[("a", "model.safetensors")]);

    let folder = Folder::new()
        .with(CONFIG, "{}")
        .with("model-00002-of-00002.safetensors", shard(&["a"]))
        .with("model-00001-of-00002.safetensors", shard(&["b"]))
        .with("consolidated.safetensors", shard(&["tok_embeddings.weight"]))
        .with("._model.safetensors", "a resource fork");
    let pairs =
        [("a", "model-00002-of-00002.safetensors"), ("b", "model-00001-of-00002.safetensors")];
    check(&folder, "", &pairs);

    let folder = Folder::new().with(CONFIG, "{}").with("consolidated.safetensors", shard(&["a"]));
    check(&folder, "", &[("a", "consolidated.safetensors")]);
}

#[test]
fn a_single_file_takes_the_config_beside_it() {
    let folder = Folder::new().with("x.safetensors", shard(&["a"])).with("notes.txt", "");
    let source = check(&folder, "x.safetensors", &[("a", "x.safetensors")]);
    assert!(!source.is_folder() && !source.wants_folder_output());
    assert!(source.config().is_none() && source.side_files().is_empty());

    let folder = folder.with(CONFIG, r#"{"hidden_size":8}"#);
    let source = check(&folder, "x.safetensors", &[("a", "x.safetensors")]);
    assert!(!source.is_folder() && source.wants_folder_output());
    assert_eq!(source.config().unwrap().usize_at("hidden_size"), Ok(Some(8)));
    assert_eq!(source.side_files().len(), 1);
    assert_eq!(source.path_of("notes.txt"), folder.join("notes.txt"));
}

#[test]
fn links_of_a_download_cache_are_followed() {
    let folder = Folder::new()
        .with("blobs/1", shard(&["a"]))
        .with("blobs/2", "{}")
        .with("blobs/3", "vocabulary")
        .with("snapshots/main/.gitattributes", "");
    for (blob, name) in [("1", "model.safetensors"), ("2", "config.json"), ("3", "vocab.txt")] {
        symlink(format!("../../blobs/{blob}"), folder.join("snapshots/main").join(name)).unwrap();
    }
    let source = check(&folder, "snapshots/main", &[("a", "model.safetensors")]);
    assert_eq!(source.side_files(), [SideFile { name: "vocab.txt".into(), bytes: 10 }]);
    check(&folder, "snapshots/main/model.safetensors", &[("a", "model.safetensors")]);
}

#[test]
fn odd_headers_empty_tensors_and_empty_files_are_no_errors() {
    let json = r#"{"z":{"dtype":"F32","shape":[0,5],"data_offsets":[0,0]},"s":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}"#;
    let folder = Folder::new()
        .with("odd.safetensors", raw_shard(json, &[9]))
        .with("even.safetensors", raw_shard(&format!("{json} "), &[9]))
        .with("empty.safetensors", raw_shard("{}", &[]));
    assert_eq!(json.len() % 2, 1);
    for name in ["odd.safetensors", "even.safetensors"] {
        let source = check(&folder, name, &[("s", name), ("z", name)]);
        let (shard, entry) = source.entry("s").unwrap();
        let mut byte = [0];
        shard.read_tensor(entry, 0..1, &mut byte).unwrap();
        assert_eq!(byte, [9]);
        shard.read_tensor(source.entry("z").unwrap().1, 0..0, &mut []).unwrap();
        assert_eq!(source.meta("z").unwrap().to_string(), "F32 [0, 5]");
    }
    check(&folder, "empty.safetensors", &[]);
}

fn refuse(folder: Folder, name: &str, blame: Blame, expected: &str) {
    let error = Source::open(&folder.join(name)).unwrap_err();
    assert_eq!(folder.text(&error), expected);
    assert_eq!(error.blame(), blame, "{expected}");
}

#[test]
fn a_wrong_request_is_told_from_a_wrong_file() {
    let request = |folder, name, expected| refuse(folder, name, Blame::Request, expected);
    request(Folder::new(), "none", "`DIR/none` does not exist");
    request(
        Folder::new().with("model.bin", "x"),
        "model.bin",
        "`DIR/model.bin` is neither a folder nor a `.safetensors` file",
    );
    let folder = Folder::new();
    pipe(&folder.join("p.safetensors"));
    request(
        folder,
        "p.safetensors",
        "`DIR/p.safetensors` is neither a folder nor a `.safetensors` file",
    );
}

#[test]
fn every_bad_file_is_refused_by_name() {
    let check = |content: Vec<u8>, expected: &str| {
        let folder = Folder::new().with(CONFIG, "{}").with("model.safetensors", content);
        refuse(folder, "", Blame::Input, &format!("{expected}\n  in `DIR/model.safetensors`"));
    };
    check(vec![0; 7], "the file has 7 bytes, too few for a safetensors header");
    check(vec![0; 8], "the header does not begin with `{`");
    check(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n".to_vec(),
        "the file is a Git LFS pointer, not the tensors that it stands for",
    );
    check(
        100_000_001u64.to_le_bytes().to_vec(),
        "the header has 100000001 bytes, and at most 100000000 are allowed",
    );
    check(
        vec![0xff; 64],
        "the header has 18446744073709551615 bytes, and at most 100000000 are allowed",
    );
    check(
        [&60u64.to_le_bytes()[..], b"{}"].concat(),
        "the header has 60 bytes, but only 2 follow in the file",
    );
    check(raw_shard("not json", &[]), "the header does not begin with `{`");
    check(
        raw_shard("{\"a\":", &[]),
        "the header is not what safetensors allows: tensor `a`: EOF while parsing a value at line 1 column 5",
    );
    let mut truncated = shard(&["a", "b"]);
    truncated.pop();
    check(truncated, "tensor `b` ends at byte 2 of the data, but the file has only 1");
    check(raw_shard(&format!(r#"{{"a":{BYTE},"a":{BYTE}}}"#), &[0]), "tensor `a` is there twice");
    check(
        raw_shard(&format!(r#"{{"__metadata__":{BYTE}}}"#), &[0]),
        "a tensor is named `__metadata__`, which the format keeps for itself",
    );
}

#[test]
fn every_bad_folder_is_refused_by_name() {
    let check = |folder, expected| refuse(folder, "", Blame::Input, expected);
    let linked = |name: &str, to: &str| {
        let folder = sharded(&[("a", name)]);
        symlink(to, folder.join(name)).unwrap();
        folder
    };
    check(Folder::new().with("x.safetensors", shard(&["a"])), "`DIR/` holds no `config.json`");
    check(Folder::new().with(CONFIG, "{}"), "`DIR/` holds no `.safetensors` file");
    check(
        Folder::new()
            .with(CONFIG, "{}")
            .with("pytorch_model.bin", "")
            .with("training_args.bin", ""),
        "`DIR/` holds no `.safetensors` file, but `pytorch_model.bin`",
    );
    check(
        Folder::model().with(CONFIG, "{"),
        "the config is not valid JSON: EOF while parsing an object at line 1 column 1\n  in `DIR/config.json`",
    );
    check(
        Folder::model().with(CONFIG, vec![b' '; (16 << 20) + 1]),
        "`DIR/config.json` has 16777217 bytes, and at most 16777216 are allowed",
    );
    check(
        Folder::model().with(INDEX, "{"),
        "the index is not valid: EOF while parsing an object at line 1 column 1\n  in `DIR/model.safetensors.index.json`",
    );
    check(
        sharded(&[("a", "../x.safetensors")]),
        "tensor `a` is mapped to `../x.safetensors`, which is not the plain name of a file in this folder\n  in `DIR/model.safetensors.index.json`",
    );
    check(
        sharded(&[("a", "x.safetensors")]),
        "the index names `x.safetensors`, which is not there\n  in `DIR/model.safetensors.index.json`",
    );
    check(linked("x.safetensors", "gone"), "`DIR/x.safetensors` is a link to nothing");
    check(
        linked("x.safetensors", "/dev/zero"),
        "`DIR/x.safetensors` is a device, expected a regular file",
    );
    check(
        sharded(&[("a", "x.safetensors")]).with("x.safetensors/y", ""),
        "`DIR/x.safetensors` is a folder, expected a regular file",
    );
    let folder = sharded(&[("a", "x.safetensors")]);
    pipe(&folder.join("x.safetensors"));
    check(folder, "`DIR/x.safetensors` is a pipe, expected a regular file");
    check(
        sharded(&[("a", "x.safetensors"), ("b", "x.safetensors")])
            .with("x.safetensors", shard(&["a"])),
        "the index maps tensor `b` to `x.safetensors`, which does not hold it\n  in `DIR/model.safetensors.index.json`",
    );
    check(
        sharded(&[("a", "x.safetensors"), ("b", "x.safetensors"), ("c", "y.safetensors")])
            .with("x.safetensors", shard(&["a"]))
            .with("y.safetensors", shard(&["b", "c"])),
        "the index maps tensor `b` to `x.safetensors`, which does not hold it\n  in `DIR/model.safetensors.index.json`",
    );
    check(
        sharded(&[("a", "x.safetensors")]).with("x.safetensors", shard(&["a", "b"])),
        "tensor `b` of `x.safetensors` is not in the index\n  in `DIR/model.safetensors.index.json`",
    );
    check(
        sharded(&[("a", "x.safetensors"), ("b", "y.safetensors")])
            .with("x.safetensors", shard(&["a"]))
            .with("y.safetensors", shard(&["a", "b"])),
        "tensor `a` is both in `x.safetensors` and in `y.safetensors`\n  in `DIR/`",
    );
    check(
        Folder::new()
            .with(CONFIG, "{}")
            .with("model-1.safetensors", shard(&["a"]))
            .with("model-2.safetensors", shard(&["a"])),
        "tensor `a` is both in `model-1.safetensors` and in `model-2.safetensors`\n  in `DIR/`",
    );
    let folder = Folder::model();
    symlink("gone", folder.join("tokenizer.json")).unwrap();
    check(folder, "`DIR/tokenizer.json` is a link to nothing");
}

#[test]
fn an_unreadable_file_is_the_inputs_fault() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::model();
    let path = folder.join("model.safetensors");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    // The superuser reads everything.
    if fs::File::open(&path).is_err() {
        let expected = "`DIR/model.safetensors` cannot be read: Permission denied (os error 13)";
        refuse(folder, "", Blame::Input, expected);
    }
}

/// Opening it would wait for a writer that never comes.
fn pipe(path: &Path) {
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
}
