//! From a family's script, a config and the tensors that are there to a [`Program`].

mod rope;
pub(crate) mod script;
pub(crate) mod sliding;
mod steps;
mod values;

pub(crate) use script::Script;

use crate::config::ConfigView;
use crate::family::{Naming, SparseLayers};
use crate::liveness::fill_carried;
use crate::program::{
    Activation, Block, Embedding, Head, Operation, Phase, Program, Rope, Tap, TapFacts,
};
use crate::sizes::Sizes;
use crate::{BindError, Family, Model, Stack};
use rope::Source;
use script::{Last, Lookup, Stage};
use std::collections::BTreeMap;
use steps::Scope;
use values::{Limit, Number};

impl Model {
    /// The forward pass. An error names the tensor or the config key for which there is none: a
    /// model may bind, and be quantized, without it.
    pub fn program(&self) -> Result<Program, BindError> {
        let (Some(family), Some(naming), Some(sizes)) = (self.family, self.naming, &self.sizes)
        else {
            let named = self.model_type();
            let family = named.unwrap_or("a checkpoint without a known family").to_owned();
            return Err(BindError::Program { family });
        };
        if let Some(Stack { tensor, .. }) = self.stacks.first() {
            return Err(BindError::Stacked { tensor: tensor.clone(), family: family.name() });
        }
        Resolver::new(self, family, naming, sizes)?.program()
    }
}

/// What the blocks of one model share.
struct Resolver<'a> {
    model: &'a Model,
    family: &'static Family,
    naming: &'static Naming,
    config: ConfigView<'a>,
    sizes: &'a Sizes,
    script: &'static Script,
    taps: BTreeMap<&'static str, Tap>,
    facts: Vec<TapFacts>,
    epsilon: f32,
    activation: Activation,
    rope: Rope,
    /// Of layers with a window, where it differs.
    sliding_rope: Option<Rope>,
    windows: Vec<Option<usize>>,
    sparse: Option<SparseLayers>,
}

impl<'a> Resolver<'a> {
    fn new(
        model: &'a Model,
        family: &'static Family,
        naming: &'static Naming,
        sizes: &'a Sizes,
    ) -> Result<Self, BindError> {
        let (config, script) = (ConfigView(&model.config), &family.program);
        for (key, allowed) in &script.assumes {
            values::check_assumption(key, allowed, family.name(), config)?;
        }
        let source = Source { config, sizes, family: family.name() };
        let context = script.context.required(config, family.name())?;
        let rope = |rotation| rope::resolved(rotation, sizes.get("head_dim"), context, source);
        let sliding = script.sliding.as_ref();
        let facts = tap_facts(script, sizes)?;
        Ok(Self {
            taps: numbered(script),
            facts,
            epsilon: script.norms.epsilon.read(config, sizes)? as f32,
            activation: script.activation.read(config, family.name())?,
            rope: rope(&script.rope)?,
            sliding_rope: sliding
                .and_then(|sliding| sliding.rope.as_ref())
                .map(rope)
                .transpose()?,
            windows: sliding::windows(sliding, model.layers(), config, family.name())?,
            sparse: family.sparse.as_ref().map(|sparse| sparse.read(config)).transpose()?,
            model,
            family,
            naming,
            config,
            sizes,
            script,
        })
    }

    fn program(self) -> Result<Program, BindError> {
        let blocks = (0..self.model.layers()).map(|layer| self.block(layer));
        Ok(Program {
            blocks: blocks.collect::<Result<_, _>>()?,
            embedding: self.embedding()?,
            head: self.head()?,
            hidden: self.sizes.get("hidden"),
            vocabulary: self.sizes.get("vocab"),
            context: self.script.context.given(self.config)?,
            taps: self.facts,
        })
    }

    fn embedding(&self) -> Result<Embedding, BindError> {
        let Lookup { table, scale } = &self.script.embedding;
        Ok(Embedding { tensor: self.tensor(&weight(table))?, scale: self.factor(scale.as_ref())? })
    }

    fn head(&self) -> Result<Head, BindError> {
        let Last { norm, linear, scale, cap } = &self.script.head;
        let operation = Operation::Norm {
            input: Program::HIDDEN,
            output: Program::HIDDEN,
            weight: self.tensor(&weight(norm))?,
            epsilon: self.epsilon,
            from_one: self.script.norms.from_one,
            width: self.sizes.get("hidden"),
        };
        Ok(Head {
            norm: Phase {
                name: self.naming.apply(norm),
                expert: None,
                operations: vec![operation],
                carried: vec![Program::HIDDEN],
            },
            tensor: self.head_tensor(&weight(linear))?,
            bias: None,
            scale: self.factor(scale.as_ref())?,
            cap: self.limit(cap.as_ref())?,
        })
    }

    /// The head's own tensor where it has one, also if the config calls it tied: loaders tie the two
    /// only if they are equal.
    fn head_tensor(&self, name: &str) -> Result<String, BindError> {
        match (self.tensor(name), self.model.tied()) {
            (Err(BindError::Missing { .. }), Some((embedding, _))) => Ok(embedding.to_owned()),
            (tensor, _) => tensor,
        }
    }

    fn block(&self, layer: usize) -> Result<Block, BindError> {
        let path = self.family.block.path.replace("{layer}", &layer.to_string());
        let kind = self.sparse.as_ref().map(|sparse| sparse.kind(layer));
        let here = |stage: &&Stage| stage.only.is_none() || stage.only == kind;
        let mut phases = Vec::new();
        for stage in self.script.block.iter().filter(here) {
            let experts = stage.is_per_expert().then(|| 0..self.sizes.get("experts"));
            let copies = experts.map_or(vec![None], |experts| experts.map(Some).collect());
            for expert in copies {
                phases.push(self.phase(stage, Scope { path: &path, layer, expert })?);
            }
        }
        fill_carried(&mut phases);
        Ok(Block { layer, phases })
    }

    /// The name in the checkpoint of a tensor that must be there.
    fn tensor(&self, name: &str) -> Result<String, BindError> {
        let name = self.naming.apply(name);
        match self.model.get(&name) {
            Some(_) => Ok(name),
            None => {
                Err(BindError::Missing { tensor: name, family: self.family.name(), hint: None })
            }
        }
    }

    /// A factor, one where the script has none.
    fn factor(&self, number: Option<&Number>) -> Result<f32, BindError> {
        number.map_or(Ok(1.0), |number| Ok(number.read(self.config, self.sizes)? as f32))
    }

    fn limit(&self, limit: Option<&Limit<f64>>) -> Result<Option<f32>, BindError> {
        limit.map_or(Ok(None), |limit| limit.read(self.config))
    }
}

fn weight(module: &str) -> String {
    format!("{module}.weight")
}

/// Every tap of the script, the hidden state first.
fn tap_facts(script: &Script, sizes: &Sizes) -> Result<Vec<TapFacts>, BindError> {
    let hidden = TapFacts { name: HIDDEN.to_owned(), width: sizes.get("hidden") };
    let mut facts = vec![hidden];
    for (name, width) in &script.taps {
        let width = sizes.value(width).ok_or_else(|| BindError::Overflow {
            tensor: name.clone(),
            hint: sizes.described(&width.names()),
        })?;
        facts.push(TapFacts { name: name.clone(), width });
    }
    Ok(facts)
}

/// The taps by name, in the order of [`tap_facts`].
fn numbered(script: &Script) -> BTreeMap<&str, Tap> {
    let names = std::iter::once(HIDDEN).chain(script.taps.keys().map(String::as_str));
    names.enumerate().map(|(scope, name)| (name, Tap(scope))).collect()
}

/// The name of [`Program::HIDDEN`] in a script.
const HIDDEN: &str = "hidden";
