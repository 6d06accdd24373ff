//! A model as it lies on disk: shards, index, config and side files, checked against each other.

use crate::config::MAX_CONFIG_BYTES;
use crate::file::read_bytes;
use crate::folder::visible_names;
use crate::header::MAX_HEADER_BYTES;
use crate::same::are_equal;
use crate::side::{is_foreign_weights, side_files};
use crate::{
    Config, Error, HeaderEntry, Index, IndexFacts, ModelError, RequestError, Shard, SideFile,
};
use llmopt_tensor::TensorMeta;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// An opened model. Every tensor is in exactly one shard, and the index, if there is one, agrees.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    root: PathBuf,
    is_folder: bool,
    shards: Vec<Shard>,
    /// Sorted by name. Names stay in the headers: in a model of many experts they are most of what a
    /// header holds.
    tensors: Vec<Location>,
    index: Option<IndexFacts>,
    notes: Vec<String>,
    wrapper: Option<String>,
    config: Option<ConfigFile>,
    side_files: Vec<SideFile>,
}

/// Where a tensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Which of [`Source::shards`].
    pub shard: usize,
    /// Which of its header's tensors.
    pub entry: usize,
}

#[derive(Debug)]
struct ConfigFile {
    bytes: Vec<u8>,
    parsed: Config,
}

impl Source {
    /// Opens a folder or a single `.safetensors` file. Only headers, index and config are read.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let facts = fs::metadata(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound if !path.is_symlink() => {
                RequestError::NoModel { path: path.to_owned() }.into()
            }
            _ => Error::read(path, error),
        })?;
        if facts.is_dir() {
            return Self::open_folder(path);
        }
        let name = path.file_name().and_then(|name| name.to_str());
        match name.filter(|name| facts.is_file() && name.ends_with(".safetensors")) {
            Some(ADAPTER) => Err(ModelError::Adapter { path: path.to_owned() }.into()),
            Some(name) => Self::open_file(path, name),
            None => Err(RequestError::NotAModel { path: path.to_owned() }.into()),
        }
    }

    fn open_folder(root: &Path) -> Result<Self, Error> {
        let names = visible_names(root)?;
        let holds = |wanted: &str| names.iter().any(|name| name == wanted);
        if holds(ADAPTER_CONFIG) && !names.iter().any(is_whole_weights) {
            return Err(ModelError::Adapter { path: root.to_owned() }.into());
        }
        if !holds(CONFIG) {
            return Err(ModelError::NoConfig { folder: root.to_owned() }.into());
        }
        let index = holds(INDEX).then(|| read_index(&root.join(INDEX))).transpose()?;
        let (single, config) = (holds(SINGLE), Some(read_config(root)?));
        match index {
            Some(index) if single && is_stale(&index, root) => {
                let mut opened = Self::assemble(root, root, vec![SINGLE.to_owned()], None, config)?;
                opened.notes.push(STALE_INDEX.to_owned());
                Ok(opened)
            }
            Some(index) => {
                let files = indexed_files(&index, root)?;
                let stray = single && !files.iter().any(|file| file == SINGLE);
                let opened = Self::assemble(root, root, files, Some(index), config)?;
                if stray {
                    opened.refuse_other_single()?;
                }
                Ok(opened)
            }
            None => {
                let strays = if single { strays(&names) } else { Vec::new() };
                let files = unindexed_files(names, root)?;
                let mut opened = Self::assemble(root, root, files, None, config)?;
                for stray in &strays {
                    let note = opened.hold_against(stray)?;
                    opened.notes.push(note);
                }
                Ok(opened)
            }
        }
    }

    /// What is to be known of a file beside `model.safetensors` that no index leaves out: Transformers does
    /// not look at it, vLLM and SGLang read it, too.
    ///
    /// # Errors
    /// If it holds a tensor of the model with another content.
    fn hold_against(&self, stray: &str) -> Result<String, Error> {
        let note = |what: &str| {
            format!(
                "`{stray}` beside `model.safetensors` is left out, as Transformers does: {what} vLLM and \
                 SGLang read it, too, for there is no index"
            )
        };
        let shard = match Shard::open(&self.root, stray) {
            Ok(shard) => shard,
            Err(error) if error.is_input() => return Ok(note("it is no file of weights;")),
            Err(error) => return Err(error),
        };
        let mut same = 0;
        for entry in shard.header.tensors() {
            let Some(ours) = self.entry(&entry.name) else { continue };
            if !are_equal(ours, (&shard, entry))? {
                let (tensor, file) = (entry.name.clone(), stray.to_owned());
                let folder = self.root.clone();
                return Err(ModelError::OtherBeside { tensor, file, folder }.into());
            }
            same += 1;
        }
        Ok(note(match shard.header.tensors().len() - same {
            0 => "it holds nothing that the other does not;",
            _ => "it holds tensors of its own;",
        }))
    }

    /// Refuses a `model.safetensors` beside an index and its shards that holds something else: Transformers
    /// loads it and not the shards, vLLM loads the shards and not it.
    fn refuse_other_single(&self) -> Result<(), Error> {
        let single = Shard::open(&self.root, SINGLE)?;
        let other = |tensor: String| ModelError::OtherSingle { tensor, folder: self.root.clone() };
        let held: BTreeMap<&str, &HeaderEntry> =
            single.header.tensors().iter().map(|entry| (entry.name.as_str(), entry)).collect();
        if let Some(name) = held.keys().find(|name| self.meta(name).is_none()) {
            return Err(other((*name).to_owned()).into());
        }
        for (name, location) in self.tensors() {
            let shard = &self.shards[location.shard];
            let sharded = (shard, &shard.header.tensors()[location.entry]);
            let equal =
                held.get(name).map(|entry| are_equal((&single, entry), sharded)).transpose()?;
            if equal != Some(true) {
                return Err(other(name.to_owned()).into());
            }
        }
        Ok(())
    }

    /// What a reader should know of the files that were found.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What a wrapper has put before every tensor's name, and was left out of it.
    pub fn wrapper(&self) -> Option<&str> {
        self.wrapper.as_deref()
    }

    fn open_file(path: &Path, name: &str) -> Result<Self, Error> {
        let root = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let beside = root.join(CONFIG);
        let config = match beside.exists() || beside.is_symlink() {
            true => Some(read_config(root)?),
            false => None,
        };
        Self::assemble(path, root, vec![name.to_owned()], None, config)
    }

    fn assemble(
        path: &Path,
        root: &Path,
        files: Vec<String>,
        index: Option<Index>,
        config: Option<ConfigFile>,
    ) -> Result<Self, Error> {
        let mut shards: Vec<Shard> =
            files.iter().map(|file| Shard::open(root, file)).collect::<Result<_, _>>()?;
        located(&shards, root)?;
        if let Some(index) = &index {
            refuse_disagreement(index, &shards, &root.join(INDEX))?;
        }
        let wrapper = strip_wrappers(&mut shards);
        let notes = wrapper.iter().map(|prefix| left_out(prefix)).collect();
        let tensors = located(&shards, root)?;
        let side_files = match config {
            Some(_) => side_files(root)?,
            None => Vec::new(),
        };
        Ok(Self {
            path: path.to_owned(),
            root: root.to_owned(),
            is_folder: path == root,
            shards,
            tensors,
            index: index.map(|index| index.facts()),
            notes,
            wrapper,
            config,
            side_files,
        })
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a folder was opened, rather than a file.
    pub fn is_folder(&self) -> bool {
        self.is_folder
    }

    /// Whether there is a config, so that what is made of this model should be a folder that a
    /// runtime can load.
    pub fn wants_folder_output(&self) -> bool {
        self.config.is_some()
    }

    /// The weight files, sorted by name.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// Every tensor's name and place, sorted by name.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = (&str, Location)> {
        self.tensors.iter().map(|&location| (name_at(&self.shards, location), location))
    }

    /// The shard that holds a tensor, and its entry there.
    pub fn entry(&self, name: &str) -> Option<(&Shard, &HeaderEntry)> {
        let place = self
            .tensors
            .binary_search_by(|&location| name_at(&self.shards, location).cmp(name))
            .ok()?;
        let location = self.tensors[place];
        let shard = self.shards.get(location.shard)?;
        Some((shard, shard.header.tensors().get(location.entry)?))
    }

    /// A tensor's element type and shape.
    pub fn meta(&self, name: &str) -> Option<&TensorMeta> {
        self.entry(name).map(|(_, entry)| &entry.meta)
    }

    /// What the index says besides its map, where there is one.
    pub fn index(&self) -> Option<IndexFacts> {
        self.index
    }

    /// `config.json`, which only a single file can be without.
    pub fn config(&self) -> Option<&Config> {
        self.config.as_ref().map(|config| &config.parsed)
    }

    /// `config.json` as it is on disk.
    pub fn config_bytes(&self) -> Option<&[u8]> {
        self.config.as_ref().map(|config| config.bytes.as_slice())
    }

    /// What else comes along, sorted by name.
    pub fn side_files(&self) -> &[SideFile] {
        &self.side_files
    }

    /// Where a side file, or any other file of the model, is.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

fn read_index(path: &Path) -> Result<Index, Error> {
    let bytes = read_bytes(path, MAX_HEADER_BYTES)?;
    Index::parse(&bytes).map_err(|error| Error::Index { file: path.to_owned(), error })
}

fn read_config(root: &Path) -> Result<ConfigFile, Error> {
    let file = root.join(CONFIG);
    let bytes = read_bytes(&file, MAX_CONFIG_BYTES as u64)?;
    let parsed = Config::parse(&bytes).map_err(|error| Error::Config { file, error })?;
    Ok(ConfigFile { bytes, parsed })
}

/// Takes from all names what a wrapper that was saved with the model has put before them: this.
fn strip_wrappers(shards: &mut [Shard]) -> Option<String> {
    let entries = || shards.iter().flat_map(|shard| shard.header.tensors());
    let mut prefix = String::new();
    while let Some(wrapper) = WRAPPERS.iter().find(|wrapper| {
        let wrapped = format!("{prefix}{wrapper}");
        entries().next().is_some() && entries().all(|entry| entry.name.starts_with(&wrapped))
    }) {
        prefix.push_str(wrapper);
    }
    // What is left must be a language model's own names.
    let is_model = |entry: &HeaderEntry| entry.name[prefix.len()..].starts_with("model.");
    if prefix.is_empty() || !entries().any(is_model) {
        return None;
    }
    shards.iter_mut().for_each(|shard| shard.header.strip_prefix(prefix.len()));
    Some(prefix)
}

fn left_out(prefix: &str) -> String {
    format!(
        "every tensor's name begins with `{prefix}`, which a wrapper has put there and no loader knows: it \
         is left out"
    )
}

/// Whether a file that the index names is not there. Transformers does not look at the index where the
/// single file is.
fn is_stale(index: &Index, root: &Path) -> bool {
    let files: BTreeSet<&str> = index.weight_map().values().map(|file| &**file).collect();
    files.iter().any(|file| fs::symlink_metadata(root.join(file)).is_err())
}

/// Whether a file of this name may hold a model's weights rather than an adapter's. PEFT saves an
/// adapter beside a `config.json`, too, where it was told to.
fn is_whole_weights(name: &String) -> bool {
    name.ends_with(".safetensors") && name != ADAPTER
}

fn indexed_files(index: &Index, root: &Path) -> Result<Vec<String>, Error> {
    let files: BTreeSet<&str> = index.weight_map().values().map(|file| &**file).collect();
    if files.is_empty() {
        return Err(ModelError::NoWeights { folder: root.to_owned() }.into());
    }
    let missing = |file: &&&str| fs::symlink_metadata(root.join(file)).is_err();
    match files.iter().find(missing) {
        Some(file) => {
            Err(ModelError::NoShard { shard: (*file).to_owned(), index: root.join(INDEX) }.into())
        }
        None => Ok(files.into_iter().map(str::to_owned).collect()),
    }
}

/// Files beside `model.safetensors` that hold weights, but not the same ones in their original layout.
fn strays(names: &[String]) -> Vec<String> {
    let is_stray = |name: &&String| {
        name.ends_with(".safetensors") && *name != SINGLE && !name.starts_with("consolidated")
    };
    names.iter().filter(is_stray).cloned().collect()
}

/// Without an index: `model.safetensors` alone if it is there, else all there are. The same weights in
/// their original layout (`consolidated*`) lie beside some models and are not part of them.
fn unindexed_files(names: Vec<String>, root: &Path) -> Result<Vec<String>, Error> {
    if names.iter().any(|name| name == SINGLE) {
        return Ok(vec![SINGLE.to_owned()]);
    }
    let foreign = names.iter().find(|name| is_foreign_weights(name)).cloned();
    let mut files = names;
    files.retain(|name| name.ends_with(".safetensors"));
    if files.iter().any(|name| name.starts_with("model")) {
        files.retain(|name| !name.starts_with("consolidated"));
    }
    let folder = root.to_owned();
    match (files.is_empty(), foreign) {
        (false, _) => Ok(files),
        (true, Some(found)) => Err(ModelError::OtherWeights { folder, found }.into()),
        (true, None) => Err(ModelError::NoWeights { folder }.into()),
    }
}

fn located(shards: &[Shard], root: &Path) -> Result<Vec<Location>, Error> {
    let mut tensors: Vec<Location> = Vec::new();
    for (shard, held) in shards.iter().enumerate() {
        tensors.extend((0..held.header.tensors().len()).map(|entry| Location { shard, entry }));
    }
    // Stable: of two tensors of the same name, the one in the earlier shard comes first.
    tensors.sort_by_key(|&location| name_at(shards, location));
    let same = |pair: &&[Location]| name_at(shards, pair[0]) == name_at(shards, pair[1]);
    match tensors.windows(2).find(same) {
        Some(pair) => Err(ModelError::TwoShards {
            tensor: name_at(shards, pair[0]).to_owned(),
            first: shards[pair[0].shard].name.clone(),
            second: shards[pair[1].shard].name.clone(),
            folder: root.to_owned(),
        }
        .into()),
        None => Ok(tensors),
    }
}

fn name_at(shards: &[Shard], location: Location) -> &str {
    &shards[location.shard].header.tensors()[location.entry].name
}

fn refuse_disagreement(index: &Index, shards: &[Shard], path: &Path) -> Result<(), ModelError> {
    let mut unseen: BTreeMap<&str, &str> =
        index.weight_map().iter().map(|(tensor, shard)| (tensor.as_str(), &**shard)).collect();
    let mut unlisted: Option<(&str, &str)> = None;
    for shard in shards {
        for tensor in shard.header.tensors() {
            match unseen.get(tensor.name.as_str()) {
                Some(&named) if named == shard.name => drop(unseen.remove(tensor.name.as_str())),
                Some(_) => {}
                None => {
                    let found = (tensor.name.as_str(), shard.name.as_str());
                    unlisted = Some(unlisted.map_or(found, |first| first.min(found)));
                }
            }
        }
    }
    let index = path.to_owned();
    match (unseen.first_key_value(), unlisted) {
        (Some((&tensor, &shard)), _) => Err(ModelError::NotInShard {
            tensor: tensor.to_owned(),
            shard: shard.to_owned(),
            index,
        }),
        (None, Some((tensor, shard))) => Err(ModelError::NotInIndex {
            tensor: tensor.to_owned(),
            shard: shard.to_owned(),
            index,
        }),
        (None, None) => Ok(()),
    }
}

/// What `torch.compile`, data parallelism and PEFT put before the names of a model's tensors.
const WRAPPERS: [&str; 3] = ["_orig_mod.", "module.", "base_model.model."];
const STALE_INDEX: &str = "the index names files that are not there: `model.safetensors` is taken, as \
                           Transformers does, and the index is left out";
const ADAPTER_CONFIG: &str = "adapter_config.json";
const CONFIG: &str = "config.json";
const ADAPTER: &str = "adapter_model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const SINGLE: &str = "model.safetensors";

#[cfg(test)]
mod tests;
