//! Which layers see a window only.

use crate::BindError;
use crate::config::ConfigView;
use crate::resolve::script::{Sliding, Start};

/// The window of each layer; `None` where it sees everything.
pub(crate) fn windows(
    sliding: Option<&Sliding>,
    layers: usize,
    config: ConfigView<'_>,
    family: &'static str,
) -> Result<Vec<Option<usize>>, BindError> {
    let Some(sliding) = sliding else { return Ok(vec![None; layers]) };
    let window = sliding.width(config)?;
    let is_sliding = sliding.layers(layers, window.is_some(), config, family)?;
    if window.is_none() && is_sliding.contains(&true) {
        return Err(BindError::Variant {
            key: sliding.window.key.clone(),
            found: config.shown(&sliding.window.key),
            family,
            expected: "the width of the window that some layers have".to_owned(),
        });
    }
    Ok(is_sliding.into_iter().map(|is_sliding| window.filter(|_| is_sliding)).collect())
}

impl Sliding {
    /// The window, unless it is switched off.
    fn width(&self, config: ConfigView<'_>) -> Result<Option<usize>, BindError> {
        let is_on = match &self.switch {
            Some(switch) => config.flag(switch)?.unwrap_or(false),
            None => true,
        };
        if is_on { self.window.read(config) } else { Ok(None) }
    }

    fn layers(
        &self,
        layers: usize,
        has_window: bool,
        config: ConfigView<'_>,
        family: &'static str,
    ) -> Result<Vec<bool>, BindError> {
        if let Some(types) = self.types.as_ref().filter(|types| config.get(types).is_some()) {
            return listed(types, layers, config, family);
        }
        if let Some(Start { key, default }) = self.start.as_ref().filter(|_| has_window) {
            let start = config.whole(key)?.unwrap_or(*default);
            return Ok((0..layers).map(|layer| layer >= start).collect());
        }
        let period = self.period.as_ref().map(|period| period.read(config)).transpose()?.flatten();
        let is_sliding = |layer: usize| match period {
            Some(period) => !(layer + 1).is_multiple_of(period),
            None => has_window,
        };
        Ok((0..layers).map(is_sliding).collect())
    }
}

/// The layers that the list under `key` calls sliding.
fn listed(
    key: &str,
    layers: usize,
    config: ConfigView<'_>,
    family: &'static str,
) -> Result<Vec<bool>, BindError> {
    let types = config.texts(key)?;
    let wrong = |expected: String| BindError::Variant {
        key: key.to_owned(),
        found: config.shown(key),
        family,
        expected,
    };
    if types.len() != layers {
        return Err(wrong(format!("a type for each of {layers} layers")));
    }
    let is_sliding = |name: &&str| match *name {
        "sliding_attention" => Some(true),
        "full_attention" => Some(false),
        _ => None,
    };
    let known: Option<Vec<bool>> = types.iter().map(is_sliding).collect();
    known.ok_or_else(|| wrong("\"full_attention\" or \"sliding_attention\"".to_owned()))
}
