//! What a statistics file says of itself, in its metadata.

use crate::calibration::statistics::identity::ModelIdentity;
use llmopt_calib::{InputSite, Sum};
use llmopt_checkpoint::Sha256;
use llmopt_data::{CalibrationFacts, STATISTICS_KEY};
use llmopt_linalg::Precision;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A run of the model whose sums are in a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObservedRun {
    /// What the inputs of products were rounded to.
    pub dtype: String,
    /// What computed them.
    pub kernel: String,
    /// The data.
    pub data: CalibrationFacts,
}

/// What a file says of itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Described {
    pub(super) model: ModelIdentity,
    /// Whose sums are added up.
    pub(super) runs: Vec<ObservedRun>,
    /// By the first weight that reads each site.
    pub(super) sites: BTreeMap<String, SiteFacts>,
}

/// A site, in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SiteFacts {
    /// The weights that read it.
    pub(super) readers: Vec<String>,
    /// The hash of each of its tensors, by the ending of its name.
    pub(super) sha256: BTreeMap<String, String>,
}

impl ObservedRun {
    pub(super) fn new(precision: Precision, kernel: &str, data: CalibrationFacts) -> Self {
        Self { dtype: precision.to_string(), kernel: kernel.to_owned(), data }
    }
}

impl Described {
    /// Of sites whose hashes are not known yet. As long as it will be with them.
    pub(super) fn new<'a>(
        model: ModelIdentity,
        runs: Vec<ObservedRun>,
        sites: impl Iterator<Item = &'a InputSite>,
        gram: bool,
    ) -> Self {
        let unknown = Sha256::new().finish();
        let hash = |sum: &Sum| (sum.name().to_owned(), unknown.clone());
        let sha256: BTreeMap<String, String> = Sum::kept(gram).iter().map(hash).collect();
        let site = |site: &InputSite| {
            let facts = SiteFacts { readers: site.tensors.clone(), sha256: sha256.clone() };
            (site.tensors[0].clone(), facts)
        };
        Self { model, runs, sites: sites.map(site).collect() }
    }

    pub(super) fn metadata(&self) -> BTreeMap<String, String> {
        let entries = [
            (STATISTICS_KEY, VERSION.to_owned()),
            (MODEL, json(&self.model)),
            (RUNS, json(&self.runs)),
            (SITES, json(&self.sites)),
        ];
        entries.map(|(key, value)| (key.to_owned(), value)).into()
    }

    /// What metadata say, or what is wrong with them.
    pub(super) fn parse(metadata: &BTreeMap<String, String>) -> Result<Self, String> {
        match metadata.get(STATISTICS_KEY).map(String::as_str) {
            Some(VERSION) => {}
            Some(other) => {
                return Err(format!("`{STATISTICS_KEY}` is `{other}`, expected `{VERSION}`"));
            }
            None => return Err(format!("its metadata have no `{STATISTICS_KEY}`")),
        }
        let described = Self {
            model: parsed(metadata, MODEL)?,
            runs: parsed(metadata, RUNS)?,
            sites: parsed(metadata, SITES)?,
        };
        described.check()?;
        Ok(described)
    }

    /// Every site is named after one of its readers, and no weight reads two.
    fn check(&self) -> Result<(), String> {
        let mut known = BTreeSet::new();
        for (name, SiteFacts { readers, .. }) in &self.sites {
            if readers.first() != Some(name) {
                return Err(format!("site `{name}` is not read by the weight it is named after"));
            }
            if let Some(twice) = readers.iter().find(|reader| !known.insert(reader.as_str())) {
                return Err(format!("weight `{twice}` reads two sites"));
            }
        }
        Ok(())
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("names, numbers and maps by name can be written")
}

fn parsed<T: DeserializeOwned>(
    metadata: &BTreeMap<String, String>,
    key: &str,
) -> Result<T, String> {
    let text = metadata.get(key).ok_or_else(|| format!("its metadata have no `{key}`"))?;
    serde_json::from_str(text).map_err(|error| format!("`{key}` of its metadata: {error}"))
}

const VERSION: &str = "1";
const MODEL: &str = "model";
const RUNS: &str = "runs";
const SITES: &str = "sites";
