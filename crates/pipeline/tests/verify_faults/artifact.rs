//! Sound artifacts, made once each, and copies of them to plant faults in.

use llmopt_checkpoint::{Config, Header};
use llmopt_pipeline::{
    Cancel, Fault, GroupSize, Method, Recipe, Resources, Runtime, Scheme, Silent, Target,
    VerifyOptions, plan, quantize, verify,
};
use llmopt_tensor::TensorMeta;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::TempDir;

/// A kind of artifact: which model, and how it is quantized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// tiny-llama, int4 in groups of 128.
    W4,
    /// The same in two files with an index.
    Sharded,
    /// The same with zero points.
    Asymmetric,
    /// tiny-llama, int8 per channel.
    W8,
    /// The same, with its head.
    WithHead,
    /// The same, with `down_proj` of the first layer left dense.
    PartlyDense,
    /// tiny-llama's weights alone.
    Bare,
    /// tiny-llama, int8 weights and activations.
    W8A8,
    Fp8,
    /// E4M3 in blocks, for Transformers alone.
    Fp8Block,
    /// A mixture of experts, int8 per channel.
    Mixtral,
    /// Embedding and head are one matrix.
    Tied,
    /// A language model beside a vision tower.
    Gemma3,
}

impl Kind {
    const ALL: [Self; 13] = [
        Self::W4,
        Self::Sharded,
        Self::Asymmetric,
        Self::W8,
        Self::WithHead,
        Self::PartlyDense,
        Self::Bare,
        Self::W8A8,
        Self::Fp8,
        Self::Fp8Block,
        Self::Mixtral,
        Self::Tied,
        Self::Gemma3,
    ];

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter()
    }

    /// The model that it is made from.
    pub(crate) fn source(self) -> PathBuf {
        let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
        match self {
            Self::Mixtral => testdata.join("families/mixtral"),
            Self::Tied => testdata.join("families/llama-tied"),
            Self::Gemma3 => testdata.join("families/gemma3"),
            Self::Bare => bare_source(&testdata.join("tiny-llama")).to_owned(),
            Self::Sharded => sharded_source(&testdata.join("tiny-llama")).to_owned(),
            _ => testdata.join("tiny-llama"),
        }
    }

    fn recipe(self) -> Recipe {
        let preset = match self {
            Self::W4 | Self::Sharded | Self::Asymmetric => "w4a16",
            Self::W8A8 => "w8a8",
            Self::Fp8 => "fp8",
            Self::Fp8Block => "fp8-block",
            _ => "w8a16",
        };
        let scheme = Scheme::preset(preset).expect("a preset");
        let mut recipe = Recipe::new(Scheme { symmetric: self != Self::Asymmetric, ..scheme });
        recipe.method = Method::Rtn;
        recipe.group_size = GroupSize::Auto;
        recipe.lm_head = self == Self::WithHead;
        if self == Self::PartlyDense {
            recipe.exclude = vec!["*layers.0.mlp.down_proj*".to_owned()];
        }
        if self == Self::Fp8Block {
            recipe.runtimes = vec![Runtime::Transformers];
        }
        recipe
    }

    /// The sound artifact.
    fn made(self) -> &'static Path {
        static MADE: [OnceLock<PathBuf>; Kind::ALL.len()] =
            [const { OnceLock::new() }; Kind::ALL.len()];
        MADE[self as usize].get_or_init(|| {
            let name = if self == Self::Bare { "out.safetensors" } else { "out" };
            let path = scratch().join(format!("{self:?}")).join(name);
            made(&self.source(), &path, &self.recipe());
            path
        })
    }

    /// Whose rules its faultless form follows.
    fn runtimes(self) -> Vec<Runtime> {
        self.recipe().runtimes
    }
}

/// Quantizes.
pub(crate) fn made(source: &Path, output: &Path, recipe: &Recipe) {
    let target = Target { output: Some(output.to_owned()), ..Target::default() };
    let resources = Resources { memory: 1 << 30, threads: 2 };
    let plan = plan(source, &target, recipe, resources).expect("it can be planned");
    quantize(&plan, &Silent, &Cancel::new()).expect("it can be quantized");
}

/// Everything that is wrong with an artifact.
pub(crate) fn faults(path: &Path, options: &VerifyOptions) -> Vec<Fault> {
    verify(path, options, &Silent, &Cancel::new()).expect("faults are no errors").faults
}

/// A copy of a sound artifact.
pub(crate) struct Copy {
    kind: Kind,
    folder: TempDir,
    pub(crate) options: VerifyOptions,
}

impl Copy {
    pub(crate) fn of(kind: Kind) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let from = kind.made();
        let from = if from.is_dir() { from } else { from.parent().expect("a folder") };
        copy_files(from, folder.path());
        let options = VerifyOptions { runtimes: kind.runtimes(), against: None, quick: false };
        Self { kind, folder, options }
    }

    /// Without its report, so that only what the loaders see is checked.
    pub(crate) fn unrecorded(kind: Kind) -> Self {
        let copy = Self::of(kind);
        let report = if kind == Kind::Bare { "out.llmopt.json" } else { "llmopt.json" };
        copy.remove(report);
        copy
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn weights(&self) -> PathBuf {
        let first = "model-00001-of-00002.safetensors";
        let names = ["out.safetensors", "model.safetensors", first];
        let found = names.iter().map(|name| self.file(name)).find(|path| path.is_file());
        found.expect("there are weights")
    }

    /// Everything that is wrong.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        let path = match self.kind {
            Kind::Bare => self.file("out.safetensors"),
            _ => self.folder.path().to_owned(),
        };
        faults(&path, &self.options)
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.file(name)).expect("it is there");
    }

    pub(crate) fn duplicate(&self, from: &str, to: &str) {
        fs::copy(self.file(from), self.file(to)).expect("a copy");
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).expect("writable");
    }

    /// Makes a file so many bytes longer.
    pub(crate) fn resize(&self, name: &str, by: isize) {
        let mut bytes = fs::read(self.file(name)).expect("it is there");
        bytes.resize(bytes.len().saturating_add_signed(by), b'\n');
        fs::write(self.file(name), bytes).expect("writable");
    }

    /// Changes a value of `config.json`; `Value::Null` removes it.
    pub(crate) fn configure(&self, key: &str, value: Value) {
        let path = self.file("config.json");
        let mut config = Config::parse(&fs::read(&path).expect("a config")).expect("sound");
        if value.is_null() {
            config.remove(key).expect("it is there");
        } else {
            config.set(key, value).expect("it can be set");
        }
        fs::write(path, config.to_bytes()).expect("writable");
    }

    /// Changes the `ignore` list.
    pub(crate) fn ignore(&self, change: impl Fn(&mut Vec<Value>)) {
        let path = self.file("config.json");
        let config = Config::parse(&fs::read(path).expect("a config")).expect("sound");
        let key = "quantization_config.ignore";
        let mut list = config.get(key).and_then(Value::as_array).expect("a list").clone();
        change(&mut list);
        self.configure(key, Value::from(list));
    }

    /// Changes a JSON file.
    pub(crate) fn edit(&self, name: &str, change: impl Fn(&mut Value)) {
        let bytes = fs::read(self.file(name)).expect("a file");
        let mut value = serde_json::from_slice(&bytes).expect("JSON");
        change(&mut value);
        fs::write(self.file(name), value.to_string()).expect("writable");
    }

    /// Removes a key of the object at `pointer` of a JSON file.
    pub(crate) fn remove_key(&self, name: &str, pointer: &str, key: &str) {
        self.edit(name, |value| {
            let object = value.pointer_mut(pointer).and_then(Value::as_object_mut);
            object.and_then(|object| object.remove(key)).expect("it is there");
        });
    }

    /// Changes what the report says of the tensors.
    pub(crate) fn edit_tensors(&self, change: impl Fn(&mut Vec<Value>)) {
        self.edit("llmopt.json", |report| {
            change(report["tensors"].as_array_mut().expect("a list"));
        });
    }

    /// Rewrites the tensors of the weight file.
    pub(crate) fn rewrite(&self, change: impl Fn(&mut Tensors)) {
        let mut tensors = Tensors::read(&self.weights());
        change(&mut tensors);
        tensors.write(&self.weights());
    }
}

/// The content of a safetensors file, to be changed at will.
pub(crate) struct Tensors {
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) tensors: BTreeMap<String, (TensorMeta, Vec<u8>)>,
}

impl Tensors {
    pub(crate) fn read(path: &Path) -> Self {
        let file = fs::read(path).expect("a file");
        let (length, rest) = file.split_first_chunk::<8>().expect("a length");
        let (json, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
        let header = Header::parse(json, data.len() as u64).expect("a header");
        let tensors = header.tensors().iter().map(|entry| {
            let bytes = data[entry.begin as usize..entry.end() as usize].to_vec();
            (entry.name.clone(), (entry.meta.clone(), bytes))
        });
        Self { metadata: header.metadata().clone(), tensors: tensors.collect() }
    }

    pub(crate) fn write(&self, path: &Path) {
        let mut names: Vec<(String, TensorMeta)> =
            self.tensors.iter().map(|(name, (meta, _))| (name.clone(), meta.clone())).collect();
        Header::reference_order(&mut names);
        let (mut file, _) = Header::encode(&self.metadata, &names).expect("writable");
        for (name, _) in &names {
            file.extend(&self.tensors[name].1);
        }
        fs::write(path, file).expect("writable");
    }

    pub(crate) fn bytes(&mut self, name: &str) -> &mut Vec<u8> {
        &mut self.tensors.get_mut(name).expect("the tensor is there").1
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.tensors.remove(name).expect("the tensor is there");
    }

    pub(crate) fn insert(&mut self, name: &str, meta: TensorMeta, bytes: Vec<u8>) {
        assert_eq!(meta.bytes(), bytes.len() as u64);
        self.tensors.insert(name.to_owned(), (meta, bytes));
    }
}

/// tiny-llama's weights without a config.
fn bare_source(model: &Path) -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let path = scratch().join("bare-source");
        fs::create_dir_all(&path).expect("a folder");
        let file = path.join("tiny.safetensors");
        fs::copy(model.join("model.safetensors"), &file).expect("a copy");
        file
    })
}

/// tiny-llama in two files: one with the first two layers, one with the rest.
fn sharded_source(model: &Path) -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| in_two_files(model))
}

fn in_two_files(model: &Path) -> PathBuf {
    let path = scratch().join("sharded-source");
    fs::create_dir_all(&path).expect("a folder");
    fs::copy(model.join("config.json"), path.join("config.json")).expect("a copy");
    let whole = Tensors::read(&model.join("model.safetensors"));
    let is_first = |name: &str| name.contains("layers.0.") || name.contains("layers.1.");
    let mut weight_map = serde_json::Map::new();
    for (number, wanted) in [(1, true), (2, false)] {
        let name = format!("model-0000{number}-of-00002.safetensors");
        let tensors = whole.tensors.iter().filter(|(name, _)| is_first(name) == wanted);
        let part = Tensors {
            metadata: whole.metadata.clone(),
            tensors: tensors.map(|(name, tensor)| (name.clone(), tensor.clone())).collect(),
        };
        weight_map.extend(part.tensors.keys().map(|key| (key.clone(), name.clone().into())));
        part.write(&path.join(name));
    }
    let index = serde_json::json!({ "metadata": {}, "weight_map": weight_map });
    fs::write(path.join("model.safetensors.index.json"), index.to_string()).expect("writable");
    path
}

fn scratch() -> &'static Path {
    static SCRATCH: OnceLock<PathBuf> = OnceLock::new();
    SCRATCH.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("verify");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        folder
    })
}

fn copy_files(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}
