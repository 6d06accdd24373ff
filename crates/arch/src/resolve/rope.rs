//! Rotary embeddings, from the many ways in which configs describe them.

use crate::BindError;
use crate::config::ConfigView;
use crate::program::{Rope, RopeScaling};
use crate::resolve::script::Rotation;
use crate::sizes::Sizes;
use serde_json::Value;

/// The rope that the config describes, for heads of `head_width` columns. `context` is the longest
/// sequence that the model was made for.
pub(crate) fn resolved(
    rotation: &Rotation,
    head_width: usize,
    context: usize,
    source: Source<'_>,
) -> Result<Rope, BindError> {
    let reader = Reader::new(rotation, context, source)?;
    let width = reader.width(head_width)?;
    Ok(Rope { theta: reader.theta()?, width, scaling: reader.scaling(width)? })
}

/// What is read, and on behalf of whom.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) config: ConfigView<'a>,
    pub(crate) sizes: &'a Sizes,
    pub(crate) family: &'static str,
}

struct Reader<'a> {
    rotation: &'a Rotation,
    /// The objects that count.
    paths: Vec<&'a str>,
    context: usize,
    source: Source<'a>,
}

/// Types of layers that have objects of their own in some families.
const LAYER_TYPES: [&str; 2] = ["full_attention", "sliding_attention"];

const TYPES: [&str; 6] = ["default", "linear", "dynamic", "yarn", "longrope", "llama3"];

impl<'a> Reader<'a> {
    fn new(rotation: &'a Rotation, context: usize, source: Source<'a>) -> Result<Self, BindError> {
        let mut paths = Vec::new();
        for path in &rotation.scaling {
            match source.config.get(path) {
                None => continue,
                Some(Value::Object(object)) if object.is_empty() => continue,
                Some(Value::Object(_)) => paths.push(path.as_str()),
                Some(_) => return Err(source.config.wrong(path, "an object")),
            }
            for layers in LAYER_TYPES.map(|layers| format!("{path}.{layers}")) {
                if let Some(found) = source.config.get(&layers) {
                    return Err(source.variant(&layers, found, "one rope for all its layers"));
                }
            }
            if !rotation.merged {
                break;
            }
        }
        Ok(Self { rotation, paths, context, source })
    }

    /// The key of the object that has it; of the first, where none has.
    fn key(&self, name: &str) -> Option<String> {
        let keys = || self.paths.iter().map(|path| format!("{path}.{name}"));
        keys().find(|key| self.source.config.get(key).is_some()).or_else(|| keys().next())
    }

    fn number(&self, name: &str) -> Result<Option<f64>, BindError> {
        self.key(name).map_or(Ok(None), |key| self.source.config.number(&key))
    }

    /// A number above zero, if it is there.
    fn positive(&self, name: &str) -> Result<Option<f64>, BindError> {
        let number = self.number(name)?;
        match (number, self.key(name)) {
            (Some(number), Some(key)) if number <= 0.0 => {
                Err(self.source.config.wrong(&key, "a number above 0"))
            }
            _ => Ok(number),
        }
    }

    fn required<T>(&self, name: &str, found: Option<T>) -> Result<T, BindError> {
        let key = self.key(name).unwrap_or_default();
        found.ok_or(BindError::ConfigMissing { key, family: self.source.family })
    }

    fn theta(&self) -> Result<f64, BindError> {
        let (key, theta) = match self.number("rope_theta")? {
            Some(theta) => (self.key("rope_theta"), theta),
            None => {
                let theta = self.rotation.theta.read(self.source.config, self.source.sizes)?;
                (self.rotation.theta.key.clone(), theta)
            }
        };
        let wrong = || self.source.config.wrong(&key.unwrap_or_default(), "a number above 1");
        if theta > 1.0 { Ok(theta) } else { Err(wrong()) }
    }

    /// The columns of a head that are rotated, rounded down.
    fn width(&self, head_width: usize) -> Result<usize, BindError> {
        let (key, part) = self.part()?;
        let width = if part == 1.0 { head_width } else { (head_width as f64 * part) as usize };
        let expected = match width {
            _ if self.rotation.partial.is_none() && part != 1.0 => {
                "1, as all columns of a head are rotated"
            }
            0 => "more than nothing to be rotated",
            _ if width > head_width => "at most 1",
            _ if !width.is_multiple_of(2) => "an even number of rotated columns",
            _ => return Ok(width),
        };
        let found = self.source.config.shown(&key);
        let (family, expected) = (self.source.family, expected.to_owned());
        Err(BindError::Variant { key, found, family, expected })
    }

    /// The part of a head that is rotated, and the key that says so.
    fn part(&self) -> Result<(String, f64), BindError> {
        let Source { config, sizes, .. } = self.source;
        let inside = self.key("partial_rotary_factor").zip(self.number("partial_rotary_factor")?);
        Ok(match (inside, &self.rotation.partial) {
            (Some(inside), _) => inside,
            (None, Some(outside)) => {
                (outside.key.clone().unwrap_or_default(), outside.read(config, sizes)?)
            }
            (None, None) => (sizes.key("head_dim").to_owned(), 1.0),
        })
    }

    fn scaling(&self, width: usize) -> Result<RopeScaling, BindError> {
        Ok(match self.kind()? {
            "linear" => RopeScaling::Linear { factor: self.factor()? },
            "dynamic" if width > 2 => {
                RopeScaling::Dynamic { factor: self.factor()?, original: self.context }
            }
            "dynamic" => return Err(self.unknown("more than two rotated columns")),
            "yarn" => self.yarn()?,
            "longrope" => self.long(width)?,
            "llama3" => self.llama3()?,
            _ => RopeScaling::None,
        })
    }

    /// The type by its present name.
    fn kind(&self) -> Result<&'static str, BindError> {
        let Some(key) = self.kind_key()? else { return Ok("default") };
        let text = self.source.config.text(&key)?.unwrap_or("default");
        let renamed = &self.rotation.types;
        let name =
            if renamed.is_empty() { Some(text) } else { renamed.get(text).map(String::as_str) };
        let known = name.and_then(|name| TYPES.into_iter().find(|known| *known == name));
        known.ok_or_else(|| {
            let names: Vec<String> = if renamed.is_empty() {
                TYPES.iter().map(|name| format!("{name:?}")).collect()
            } else {
                renamed.keys().map(|name| format!("{name:?}")).collect()
            };
            self.unknown(&format!("one of {}", names.join(", ")))
        })
    }

    /// Objects that are merged begin with a `rope_type`, which no older `type` overrules.
    fn kind_key(&self) -> Result<Option<String>, BindError> {
        let there = |name: &str| self.key(name).filter(|key| self.source.config.get(key).is_some());
        match (there("rope_type"), there("type")) {
            (None, Some(_)) if self.rotation.merged => self.required("rope_type", None),
            (now, before) => Ok(now.or(before)),
        }
    }

    fn unknown(&self, expected: &str) -> BindError {
        let key = self.kind_key().ok().flatten().unwrap_or_default();
        let found = self.source.config.shown(&key);
        BindError::Variant { key, found, family: self.source.family, expected: expected.to_owned() }
    }

    fn factor(&self) -> Result<f64, BindError> {
        let factor = self.positive("factor")?;
        self.required("factor", factor)
    }

    /// The factor; without one, how much longer the context became.
    fn ratio(&self, original: usize) -> Result<f64, BindError> {
        let ratio = self.context as f64 / original as f64;
        Ok(self.positive("factor")?.unwrap_or(ratio))
    }

    /// The length trained on first. A key outside the object counts before one inside.
    fn original(&self) -> Result<usize, BindError> {
        let Source { config, .. } = self.source;
        let outside = self.rotation.original.as_ref().map(|original| original.read(config));
        if let Some(original) = outside.transpose()?.flatten() {
            return Ok(original);
        }
        let inside = self.key("original_max_position_embeddings");
        Ok(inside.map_or(Ok(None), |key| config.size(&key))?.unwrap_or(self.context))
    }

    fn yarn(&self) -> Result<RopeScaling, BindError> {
        let original = self.original()?;
        let factor = self.ratio(original)?;
        let given = |name| Ok(self.number(name)?.filter(|number| *number != 0.0));
        let scales = given("mscale")?.zip(given("mscale_all_dim")?);
        // Section 3.4 of the paper; the quotient is DeepSeek's.
        let scale = |weight: f64| if factor > 1.0 { 0.1 * weight * factor.ln() + 1.0 } else { 1.0 };
        let computed = scales.map_or_else(|| scale(1.0), |(one, all)| scale(one) / scale(all));
        let truncate =
            self.key("truncate").map_or(Ok(None), |key| self.source.config.flag(&key))?;
        Ok(RopeScaling::Yarn {
            factor,
            original,
            beta_fast: self.turns("beta_fast", 32.0)?,
            beta_slow: self.turns("beta_slow", 1.0)?,
            attention_factor: self.attention_factor(computed)?,
            truncate: truncate.unwrap_or(true),
        })
    }

    /// A number of rotations; zero stands for the default.
    fn turns(&self, name: &str, default: f64) -> Result<f64, BindError> {
        let is_zero = self.number(name)? == Some(0.0);
        Ok(if is_zero { None } else { self.positive(name)? }.unwrap_or(default))
    }

    fn long(&self, width: usize) -> Result<RopeScaling, BindError> {
        let original = self.original()?;
        let factor = self.ratio(original)?;
        let lengthened = || (1.0 + factor.ln() / (original as f64).ln()).sqrt();
        let computed = if factor > 1.0 { lengthened() } else { 1.0 };
        Ok(RopeScaling::Long {
            short: self.factors("short_factor", width / 2)?,
            long: self.factors("long_factor", width / 2)?,
            original,
            attention_factor: self.attention_factor(computed)?,
        })
    }

    fn factors(&self, name: &str, length: usize) -> Result<Vec<f64>, BindError> {
        let factors = self.key(name).map_or(Ok(None), |key| self.source.config.numbers(&key))?;
        let factors = self.required(name, factors)?;
        if factors.len() == length && factors.iter().all(|factor| *factor > 0.0) {
            return Ok(factors);
        }
        let key = self.key(name).unwrap_or_default();
        let found = self.source.config.shown(&key);
        let expected = format!("{length} numbers above 0, one for every two rotated columns");
        Err(BindError::Variant { key, found, family: self.source.family, expected })
    }

    fn attention_factor(&self, computed: f64) -> Result<f64, BindError> {
        let factor = self.positive("attention_factor")?.unwrap_or(computed);
        let wrong = || self.unknown("lengths from which a factor for the attention follows");
        if factor.is_finite() { Ok(factor) } else { Err(wrong()) }
    }

    fn llama3(&self) -> Result<RopeScaling, BindError> {
        let low = self.positive("low_freq_factor")?;
        let high = self.positive("high_freq_factor")?;
        let (low, high) =
            (self.required("low_freq_factor", low)?, self.required("high_freq_factor", high)?);
        if high <= low {
            let key = self.key("high_freq_factor").unwrap_or_default();
            return Err(self.source.config.wrong(&key, "more than `low_freq_factor`"));
        }
        Ok(RopeScaling::Llama3 { factor: self.factor()?, low, high, original: self.original()? })
    }
}

impl Source<'_> {
    fn variant(&self, key: &str, found: &Value, expected: &str) -> BindError {
        let found = crate::config::shown(found);
        let (key, expected) = (key.to_owned(), expected.to_owned());
        BindError::Variant { key, found, family: self.family, expected }
    }
}
