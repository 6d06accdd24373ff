//! What is stored of each module against what its scheme stores.

use crate::artifact::{Artifact, Module, Parts, WEIGHT};
use crate::bound::QUANTIZATION_CONFIG;
use crate::findings::Findings;
use crate::matrix::{Matrix, codec};
use crate::shape;
use llmopt_codec::{ConfigGroup, Part};
use llmopt_run::Error;
use llmopt_scheme::{Granularity, Scheme};
use llmopt_tensor::{Dtype, TensorMeta};
use std::collections::BTreeMap;

/// The quantized modules.
#[derive(Debug, Default)]
pub struct Matrices<'a> {
    /// Those that can be read, in the order of their names.
    pub sound: Vec<Matrix<'a>>,
    /// Those that are among the faults.
    pub faulty: BTreeMap<&'a str, Faulty>,
}

/// What a module seems to be although its parts are no matrix.
#[derive(Clone, Copy, Debug)]
pub struct Faulty {
    /// Rows and columns, if any part tells them.
    pub shape: Option<[usize; 2]>,
    /// The scheme that the config gives it.
    pub scheme: Option<Scheme>,
}

impl<'a> Matrices<'a> {
    /// The matrix of a module, if it can be read.
    pub fn get(&self, module: &str) -> Option<&Matrix<'a>> {
        let place = self.sound.binary_search_by(|matrix| matrix.module.cmp(module)).ok()?;
        self.sound.get(place)
    }

    /// The scheme that the config gives to a module that is stored quantized.
    pub fn scheme_of(&self, module: &str) -> Option<Scheme> {
        match self.get(module) {
            Some(matrix) => Some(matrix.scheme()),
            None => self.faulty.get(module)?.scheme,
        }
    }
}

/// Holds every quantized module against the layout of its group.
pub fn check<'a>(artifact: &'a Artifact, findings: &mut Findings) -> Result<Matrices<'a>, Error> {
    let mut matrices = Matrices::default();
    let quantized = artifact.modules.iter().filter(|(_, module)| module.is_quantized());
    // Where there is no group at all, the config alone is at fault.
    let config = artifact.scheme().filter(|config| !config.groups().is_empty());
    for (name, module) in quantized {
        let group = config.and_then(|config| config.scheme_of(name));
        if let Some(group) = group {
            check_module(artifact, name, module, group, findings, &mut matrices)?;
            continue;
        }
        if let Some(config) = config {
            findings.fault("ignore", name, stored_though_dense(config, name));
        }
        let shape = shape::stored(artifact, name)?;
        matrices.faulty.insert(name, Faulty { shape, scheme: None });
    }
    if let (false, Some(first)) = (artifact.is_quantized(), matrices.faulty.keys().next()) {
        let message = format!(
            "it is missing, but `{first}` and {} other modules are stored quantized: loaders \
             expect an ordinary `weight` of each",
            matrices.faulty.len() - 1
        );
        findings.fault("config", QUANTIZATION_CONFIG, message);
    }
    findings.checked("quantized matrices", matrices.sound.len());
    Ok(matrices)
}

fn check_module<'a>(
    artifact: &'a Artifact,
    name: &'a str,
    module: &Module,
    group: &'a ConfigGroup,
    findings: &mut Findings,
    matrices: &mut Matrices<'a>,
) -> Result<(), Error> {
    let stored = shape::stored(artifact, name)?;
    let parts = artifact.parts(module);
    let likely = shape::likely(&parts, &group.scheme, stored);
    let check = Check { name, parts, group };
    let faults = match check.layout(likely) {
        Ok(parts) => {
            let mut faults = check.faults(&parts);
            faults.extend(check.stored_shape(stored, likely));
            if let (true, Some([rows, columns])) = (faults.is_empty(), likely) {
                let scale_dtype = check.scale_dtype();
                matrices.sound.push(Matrix { module: name, group, rows, columns, scale_dtype });
                return Ok(());
            }
            faults
        }
        Err(why) => vec![("layout", name.to_owned(), why)],
    };
    for (code, subject, message) in faults {
        findings.fault(code, &subject, message);
    }
    let faulty = Faulty { shape: likely, scheme: Some(group.scheme) };
    matrices.faulty.insert(name, faulty);
    Ok(())
}

/// A module and the group that the config puts it in.
struct Check<'a> {
    name: &'a str,
    parts: Parts<'a>,
    group: &'a ConfigGroup,
}

type Found = (&'static str, String, String);

impl Check<'_> {
    /// The parts that should be there. If no part tells the shape, one that the scheme divides stands
    /// in for it: the names are right at least.
    fn layout(&self, likely: Option<[usize; 2]>) -> Result<Vec<Part>, String> {
        let scheme = &self.group.scheme;
        let columns = match scheme.granularity {
            Granularity::Group(size) => size,
            _ => 1,
        };
        let [rows, columns] = likely.unwrap_or([1, columns]);
        let parts = codec(self.group).layout(scheme, self.scale_dtype(), rows, columns);
        parts.map_err(|error| format!("{error}\n  by `{}` of the config", self.group.name))
    }

    /// The dtype of the scales if it is one for scales, else the model's most likely one.
    fn scale_dtype(&self) -> Dtype {
        let scale = self.parts.get("weight_scale");
        scale.map(|meta| meta.dtype()).filter(|dtype| dtype.is_plain_float()).unwrap_or(Dtype::BF16)
    }

    fn faults(&self, expected: &[Part]) -> Vec<Found> {
        let subject = |suffix: &str| format!("{}.{suffix}", self.name);
        let mut faults = Vec::new();
        for part in expected {
            let found = match self.parts.get(part.suffix) {
                None => Some(("missing", missing(part))),
                Some(found) if found != &part.meta => Some(self.different(part, found)),
                Some(_) => None,
            };
            faults.extend(found.map(|(code, message)| (code, subject(part.suffix), message)));
        }
        for &(suffix, _) in &self.parts.0 {
            if expected.iter().all(|part| part.suffix != suffix) {
                faults.push(("extra", subject(suffix), self.superfluous(suffix)));
            }
        }
        faults
    }

    fn different(&self, part: &Part, found: &TensorMeta) -> (&'static str, String) {
        let expected = &part.meta;
        let is_shape = found.shape() != expected.shape();
        let why = match part.suffix {
            "weight_scale" if is_shape && found.shape().len() == 1 => {
                "scales of one axis are multiplied along the wrong one, without an error where \
                 the matrix is square"
            }
            _ if is_shape => "vLLM and Transformers compare shapes exactly",
            "weight_scale" => "scales are plain floats; loaders would cast or refuse it",
            _ => "loaders would cast the codes, and decode something else",
        };
        let message = format!("it is {found}, but {} takes {expected}: {why}", self.group.scheme);
        (if is_shape { "shape" } else { "dtype" }, message)
    }

    fn superfluous(&self, suffix: &str) -> String {
        let scheme = &self.group.scheme;
        match suffix {
            WEIGHT => "a dense weight lies beside the quantized one: vLLM refuses the tensor, \
                       others may load either"
                .to_owned(),
            "weight_zero_point" => format!(
                "{scheme} by `{}` has no zero points: vLLM refuses the tensor, and what ignores \
                 it decodes shifted weights",
                self.group.name
            ),
            "weight_g_idx" => "columns in another order are not supported any more: vLLM refuses \
                               the tensor, and what ignores it computes garbage"
                .to_owned(),
            _ => format!("{scheme} by `{}` has no such tensor: vLLM refuses it", self.group.name),
        }
    }

    /// `weight_shape` against all other parts.
    fn stored_shape(
        &self,
        stored: Option<[usize; 2]>,
        likely: Option<[usize; 2]>,
    ) -> Option<Found> {
        let meta = self.parts.get("weight_shape")?;
        let is_readable = meta.dtype() == Dtype::I64 && meta.shape() == [2];
        (is_readable && stored != likely).then(|| {
            let found = stored.map_or("no shape".to_owned(), |shape| format!("{shape:?}"));
            let expected = likely.map_or("another".to_owned(), |shape| format!("{shape:?}"));
            let message = format!(
                "it holds {found}, but the other parts are of {expected}: Transformers unpacks \
                 by what it holds"
            );
            ("shape", format!("{}.weight_shape", self.name), message)
        })
    }
}

fn missing(part: &Part) -> String {
    format!(
        "it is missing, expected {}: vLLM does not notice and computes with whatever is in \
         memory, Transformers with random numbers",
        part.meta
    )
}

fn stored_though_dense(config: &llmopt_codec::QuantizationConfig, module: &str) -> String {
    let reason = match config.ignore().iter().any(|entry| entry == module) {
        true => "is in `ignore`",
        false => "is in `ignore` or in no target",
    };
    format!("it is stored quantized, but {reason}: loaders expect an ordinary `weight`")
}
