//! Holding a checkpoint against the family that its config names.

use crate::config::ConfigView;
use crate::expression::Expression;
use crate::family::{Block, Naming, Template};
use crate::model::{BoundTensor, LinearWeight, Model};
use crate::scales::block_scales;
use crate::sizes::Sizes;
use crate::stacked::{self, Stack, stacks};
use crate::{BindError, BlockScale, Family, Role, names};
use llmopt_tensor::{Dtype, TensorMeta};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

pub(crate) fn bound(
    family: &'static Family,
    config: ConfigView<'_>,
    tensors: &BTreeMap<String, TensorMeta>,
) -> Result<Model, BindError> {
    for assumption in &family.assumes {
        assumption.check(family.name(), config)?;
    }
    let mut binder = Binder::new(family, config, tensors)?;
    binder.place_all()?;
    binder.check_surplus()?;
    Ok(binder.finished())
}

struct Binder<'a> {
    family: &'static Family,
    naming: &'static Naming,
    config: ConfigView<'a>,
    sizes: Sizes,
    tied: bool,
    has_head: bool,
    tensors: &'a BTreeMap<String, TensorMeta>,
    stacks: Vec<Stack>,
    /// The layers whose experts are stacked.
    stacked: BTreeSet<usize>,
    scales: BTreeMap<String, BlockScale>,
    placed: BTreeMap<&'a str, BoundTensor>,
    templates: BTreeMap<String, &'static Template>,
    linear_weights: Vec<LinearWeight>,
    optional_linear_weights: Vec<LinearWeight>,
}

/// Which layer and expert a template is filled in for.
#[derive(Clone, Copy, Default)]
struct Indices {
    layer: Option<usize>,
    expert: Option<usize>,
}

impl<'a> Binder<'a> {
    fn new(
        family: &'static Family,
        config: ConfigView<'a>,
        tensors: &'a BTreeMap<String, TensorMeta>,
    ) -> Result<Self, BindError> {
        let is_held = |naming: &&Naming| {
            family.before.iter().any(|template| tensors.contains_key(&naming.apply(&template.name)))
        };
        let has_experts = family.block.tensors.iter().any(Template::is_per_expert);
        let stacks = if has_experts { stacks(tensors) } else { Vec::new() };
        let architectures = config.texts("architectures")?;
        let is_causal = |name: &&str| family.architectures().iter().any(|known| known == name);
        Ok(Self {
            family,
            naming: family.namings.iter().find(is_held).unwrap_or(&family.namings[0]),
            config,
            sizes: Sizes::read(family, config)?,
            tied: family.tied.read(config)?,
            has_head: architectures.is_empty() || architectures.iter().any(is_causal),
            tensors,
            stacked: stacks.iter().filter_map(|stack| stack.layer).collect(),
            stacks,
            scales: block_scales(Some(config), tensors)?,
            placed: BTreeMap::new(),
            templates: BTreeMap::new(),
            linear_weights: Vec::new(),
            optional_linear_weights: Vec::new(),
        })
    }

    /// Fills in every template. The loops are as long as the config says, but the first layer or
    /// expert that the checkpoint does not hold ends them with an error.
    fn place_all(&mut self) -> Result<(), BindError> {
        let Block { path, tensors } = &self.family.block;
        for template in &self.family.before {
            self.place("", template, Indices::default())?;
        }
        let sparse =
            self.family.sparse.as_ref().map(|sparse| sparse.read(self.config)).transpose()?;
        for layer in 0..self.sizes.get("layers") {
            let path = path.replace("{layer}", &layer.to_string());
            let kind = sparse.as_ref().map(|sparse| sparse.kind(layer));
            let here = |template: &&Template| template.only.is_none() || template.only == kind;
            let templates: Vec<&Template> = tensors.iter().filter(here).collect();
            for run in templates.chunk_by(|a, b| a.is_per_expert() == b.is_per_expert()) {
                self.place_run(&path, run, layer)?;
            }
        }
        self.family
            .after
            .iter()
            .try_for_each(|template| self.place("", template, Indices::default()))
    }

    /// Fills in templates of one layer that are all of each expert, or all of none. Where a layer's
    /// experts are stacked, there is no tensor of one of them.
    fn place_run(
        &mut self,
        path: &str,
        run: &[&'static Template],
        layer: usize,
    ) -> Result<(), BindError> {
        let is_stacked = self.stacked.contains(&layer);
        let layer = Some(layer);
        if !run.iter().any(|template| template.is_per_expert()) {
            let indices = Indices { layer, expert: None };
            return run.iter().try_for_each(|template| self.place(path, template, indices));
        }
        if is_stacked {
            return Ok(());
        }
        for expert in 0..self.sizes.get("experts") {
            let indices = Indices { layer, expert: Some(expert) };
            run.iter().try_for_each(|template| self.place(path, template, indices))?;
        }
        Ok(())
    }

    fn place(
        &mut self,
        path: &str,
        template: &'static Template,
        indices: Indices,
    ) -> Result<(), BindError> {
        let expert = indices.expert.map(|expert| expert.to_string()).unwrap_or_default();
        let filled =
            |name: &str| self.naming.apply(&format!("{path}{name}")).replace("{expert}", &expert);
        let name = filled(&template.name);
        let Some((name, meta)) = self.tensors.get_key_value(&name) else {
            return if self.is_required(template, indices)? {
                Err(self.missing(name, template, indices))
            } else {
                Ok(())
            };
        };
        if !template.is_switched_on(self.config)? {
            return Err(self.surplus(name, template.required_if.as_deref()));
        }
        self.check_shape(name, meta, template)?;
        let Indices { layer, expert } = indices;
        let role = template.role;
        let tensor = BoundTensor { name: name.clone(), meta: meta.clone(), role, layer, expert };
        let linear_weight = tensor
            .linear_weight(template.fused.as_deref().map(filled), self.scales.contains_key(name));
        match role {
            Role::Linear => {
                self.linear_weights.push(linear_weight.ok_or_else(|| not_a_float(&tensor))?)
            }
            Role::Embedding | Role::Head => self.optional_linear_weights.extend(linear_weight),
            _ => {}
        }
        self.placed.insert(name, tensor);
        self.templates.insert(name.clone(), template);
        Ok(())
    }

    fn is_required(&self, template: &Template, indices: Indices) -> Result<bool, BindError> {
        let is_stacked = indices.layer.is_some_and(|layer| self.stacked.contains(&layer));
        let is_needed = match template.role {
            Role::Head => self.has_head && !self.tied,
            // Whoever saves a model as it is in memory saves the names in memory, too.
            Role::Router => !is_stacked,
            _ => true,
        };
        Ok(is_needed && template.is_switched_on(self.config)?)
    }

    fn check_shape(
        &self,
        name: &str,
        meta: &TensorMeta,
        template: &Template,
    ) -> Result<(), BindError> {
        let mut expected = Vec::with_capacity(template.shape.len());
        for axis in &template.shape {
            let length = self.sizes.value(axis).ok_or_else(|| BindError::Overflow {
                tensor: name.to_owned(),
                hint: self.sizes.described(&axis.names()),
            })?;
            expected.push(length);
        }
        if meta.shape() == expected {
            return Ok(());
        }
        let axes = template.shape.iter().zip(&expected).zip(meta.shape());
        let wrong =
            axes.filter(|((_, expected), found)| expected != found).map(|((axis, _), _)| axis);
        let hint = self.shape_hint(wrong);
        Err(BindError::Shape {
            tensor: name.to_owned(),
            found: meta.shape().to_vec(),
            family: self.family.name(),
            expected,
            hint,
        })
    }

    fn shape_hint<'e>(&self, mut wrong: impl Iterator<Item = &'e Expression>) -> Option<String> {
        let sizes = self.sizes.described(&wrong.next()?.names())?;
        Some(format!("{sizes}; was this checkpoint pruned, or given tokens, without updating it?"))
    }

    fn missing(&self, tensor: String, template: &Template, indices: Indices) -> BindError {
        let counted = |size: &str, list: &str, number: Option<usize>| {
            let number = number.filter(|&number| !self.holds_any(&tensor, list, number))?;
            let count = self.sizes.described(&[size])?;
            Some(format!("{count}, but the checkpoint holds {number} {size}"))
        };
        let required_if = template.required_if.as_ref();
        let hint = required_if
            .map(|key| format!("`{key}` in `config.json` is true"))
            .or_else(|| counted("layers", "layers.", indices.layer))
            .or_else(|| counted("experts", "experts.", indices.expert))
            .or_else(|| (template.role == Role::Head).then(|| self.untied_hint()));
        BindError::Missing { tensor, family: self.family.name(), hint }
    }

    fn untied_hint(&self) -> String {
        let key = &self.family.tied.keys[0];
        format!("`{key}` is not true in `config.json`, so the head is a tensor of its own")
    }

    /// Whether any tensor lies in the same numbered list entry as `tensor` would.
    fn holds_any(&self, tensor: &str, list: &str, number: usize) -> bool {
        let numbered = format!("{list}{number}.");
        let Some(start) = tensor.find(&numbered) else { return false };
        let prefix = &tensor[..start + numbered.len()];
        let mut after = self.tensors.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        after.next().is_some_and(|(name, _)| name.starts_with(prefix))
    }

    /// Refuses a weight or a bias, beside those in place, of a module that has none: loaders would leave
    /// it out, and compute something else than was saved.
    fn check_surplus(&self) -> Result<(), BindError> {
        let head = self.ends().map(|(_, head)| head);
        let placed = self.placed.keys().copied().chain(head.as_deref());
        let modules: BTreeSet<&str> = placed.filter_map(module).collect();
        let is_surplus = |name: &&String| {
            !self.placed.contains_key(name.as_str())
                && module(name).is_some_and(|module| modules.contains(module))
        };
        match self.tensors.keys().filter(|name| Some(*name) != head.as_ref()).find(is_surplus) {
            Some(name) => Err(self.surplus(name, None)),
            None => Ok(()),
        }
    }

    fn surplus(&self, tensor: &str, key: Option<&str>) -> BindError {
        let left_out = "loaders leave it out, and compute something else than was saved";
        let hint = match key {
            Some(key) => format!("`{key}` is not true in `config.json`: {left_out}"),
            None => format!("{left_out}; is `model_type` in `config.json` right?"),
        };
        BindError::Surplus {
            tensor: tensor.to_owned(),
            module: module(tensor).unwrap_or(tensor).to_owned(),
            family: self.family.name(),
            hint,
        }
    }

    fn finished(mut self) -> Model {
        let mut tensors = Vec::with_capacity(self.tensors.len());
        for (name, meta) in self.tensors {
            let placed = self.placed.remove(name.as_str());
            tensors.push(placed.unwrap_or_else(|| self.unplaced(name, meta)));
        }
        let renamed = self.family.ignore.iter().cloned();
        let ignore_patterns = renamed.chain(stacked::patterns(&self.stacks)).collect();
        let tied = (self.tied && self.has_head).then(|| self.ends()).flatten();
        let mut model = Model {
            family: Some(self.family),
            naming: Some(self.naming),
            config: self.config.0.clone(),
            layers: self.sizes.get("layers"),
            sizes: Some(self.sizes),
            templates: self.templates,
            tensors,
            linear_weights: self.linear_weights,
            optional_linear_weights: self.optional_linear_weights,
            stacks: self.stacks,
            dense_linears: Vec::new(),
            ignore_patterns,
            tied,
            block_scales: self.scales,
        };
        model.dense_linears = model.found_dense_linears();
        model
    }

    /// A tensor that no template names. Loaders skip layers that the config does not count, such as
    /// those that predict further tokens, so these pass through like anything else.
    fn unplaced(&self, name: &str, meta: &TensorMeta) -> BoundTensor {
        let in_tower = self.family.towers.iter().any(|tower| name.starts_with(tower.as_str()));
        let layer = names::layer(name).filter(|_| !in_tower);
        let is_stacked = layer.is_some_and(|layer| self.stacked.contains(&layer));
        let role = match names::role(name) {
            role @ (Role::Buffer | Role::BlockScale) => role,
            _ if in_tower => Role::Tower,
            Role::Router if is_stacked => Role::Router,
            // The head of a classifier, which is what the config says that the model is.
            Role::Head if !self.has_head => Role::Head,
            _ if self.stacks.iter().any(|stack| stack.tensor == name) => Role::Experts,
            _ => Role::Other,
        };
        let expert = names::expert(name);
        BoundTensor { name: name.to_owned(), meta: meta.clone(), role, layer, expert }
    }

    /// The names of the embedding and of the head, whether or not the checkpoint holds the head.
    fn ends(&self) -> Option<(String, String)> {
        let name = |templates: &[Template], role| {
            let template = templates.iter().find(|template| template.role == role)?;
            Some(self.naming.apply(&template.name))
        };
        let embedding = name(&self.family.before, Role::Embedding)?;
        Some((embedding, name(&self.family.after, Role::Head)?))
    }
}

impl Template {
    /// Whether the config has what the tensor is for.
    pub(crate) fn is_switched_on(&self, config: ConfigView<'_>) -> Result<bool, BindError> {
        Ok(match &self.required_if {
            Some(key) => config.flag(key)?.unwrap_or(false),
            None => true,
        })
    }

    fn is_per_expert(&self) -> bool {
        self.name.contains("{expert}")
    }
}

/// The module of a weight or a bias.
fn module(tensor: &str) -> Option<&str> {
    tensor.strip_suffix(".weight").or_else(|| tensor.strip_suffix(".bias"))
}

fn not_a_float(tensor: &BoundTensor) -> BindError {
    let (tensor, dtype) = (tensor.name.clone(), tensor.meta.dtype());
    if dtype == Dtype::F8E4M3 {
        BindError::ScaleMissing { tensor }
    } else {
        BindError::SiteDtype { tensor, dtype }
    }
}
