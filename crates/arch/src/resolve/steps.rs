//! Steps of a script become operations.

use super::{Resolver, weight};
use crate::BindError;
use crate::expression::Expression;
use crate::program::{Attention, Linear, Operation, Phase, Tap};
use crate::resolve::script::{Attend, Route, Stage, Step};

/// Which copy of a stage is meant.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    /// What names of modules of the block begin with.
    pub(super) path: &'a str,
    pub(super) layer: usize,
    pub(super) expert: Option<usize>,
}

impl Resolver<'_> {
    pub(super) fn phase(
        &self,
        stage: &'static Stage,
        scope: Scope<'_>,
    ) -> Result<Phase, BindError> {
        let operations = stage.steps.iter().map(|step| self.operation(step, scope));
        Ok(Phase {
            name: self.naming.apply(&scope.filled(&stage.phase)),
            expert: scope.expert,
            operations: operations.collect::<Result<_, _>>()?,
            carried: Vec::new(),
        })
    }

    fn operation(&self, step: &'static Step, scope: Scope<'_>) -> Result<Operation, BindError> {
        let expert = scope.expert.unwrap_or_default();
        Ok(match step {
            Step::Norm(step) => {
                let input = self.tap(&step.from);
                let width = step.per.as_ref().map_or(self.width(input), |per| self.size(per));
                Operation::Norm {
                    input,
                    output: self.tap(&step.to),
                    weight: self.tensor(&scope.filled(&weight(&step.norm)))?,
                    epsilon: self.epsilon,
                    from_one: self.script.norms.from_one,
                    width,
                }
            }
            Step::Linear(step) => {
                let (input, output) = (self.tap(&step.from), self.tap(&step.to));
                Operation::Linear(Linear {
                    input,
                    output,
                    weight: self.tensor(&scope.filled(&weight(&step.linear)))?,
                    bias: self.bias(&step.linear, scope)?,
                    rows: self.width(output),
                    columns: self.width(input),
                })
            }
            Step::Split(step) => Operation::Split {
                input: self.tap(&step.split),
                outputs: step.to.iter().map(|name| self.tap(name)).collect(),
            },
            Step::Rotate(step) => {
                let is_sliding = self.windows[scope.layer].is_some();
                let rope = self.sliding_rope.as_ref().filter(|_| is_sliding);
                Operation::Rotate {
                    taps: step.rotate.iter().map(|name| self.tap(name)).collect(),
                    head_width: self.size(&step.per),
                    rope: rope.unwrap_or(&self.rope).clone(),
                }
            }
            Step::Attend(step) => Operation::Attend(self.attention(step, scope)?),
            Step::Gate(step) => Operation::Gate {
                gate: self.tap(&step.gate),
                up: self.tap(&step.times),
                output: self.tap(&step.to),
                activation: self.activation,
            },
            Step::Add(step) => Operation::Add {
                input: self.tap(&step.add),
                output: self.tap(&step.to),
                scale: self.factor(step.scale.as_ref())?,
            },
            Step::Route(step) => self.routing(step)?,
            Step::Gather(step) => Operation::Gather {
                input: self.tap(&step.gather),
                routes: self.tap(&step.by),
                expert,
                output: self.tap(&step.to),
            },
            Step::Scatter(step) => Operation::Scatter {
                input: self.tap(&step.scatter),
                routes: self.tap(&step.by),
                expert,
                output: self.tap(&step.to),
            },
        })
    }

    fn attention(&self, step: &'static Attend, scope: Scope<'_>) -> Result<Attention, BindError> {
        let [query, key, value] = step.attend.each_ref().map(|name| self.tap(name));
        let head_width = self.size(&step.per).max(1);
        let (heads, key_value_heads) =
            (self.width(query) / head_width, self.width(key) / head_width);
        if !heads.is_multiple_of(key_value_heads) {
            let key = self.sizes.key("heads").to_owned();
            let expected =
                format!("a multiple of `{}`, {key_value_heads}", self.sizes.key("kv_heads"));
            let (found, family) = (heads.to_string(), self.family.name());
            return Err(BindError::Variant { key, found, family, expected });
        }
        Ok(Attention {
            query,
            key,
            value,
            output: self.tap(&step.to),
            heads,
            key_value_heads,
            head_width,
            scale: self.factor(Some(&step.scale))?,
            window: self.windows[scope.layer],
            cap: self.limit(step.cap.as_ref())?,
        })
    }

    fn routing(&self, step: &'static Route) -> Result<Operation, BindError> {
        let (input, output) = (self.tap(&step.route), self.tap(&step.to));
        let (experts, family) = (self.width(input), self.family.name());
        let top = step.top.required(self.config, family)?;
        if top > experts {
            let (key, found) = (step.top.key.clone().unwrap_or_default(), top.to_string());
            let expected = format!("at most its {experts} experts");
            return Err(BindError::Variant { key, found, family, expected });
        }
        let renormalize = step.renormalize.read(self.config)?;
        Ok(Operation::Route { input, output, top, renormalize })
    }

    /// The bias of a linear, where the config has it. One that lies in the checkpoint although the
    /// config does not know it is left alone by the loaders too.
    fn bias(&self, module: &str, scope: Scope<'_>) -> Result<Option<String>, BindError> {
        let name = format!("{module}.bias");
        let template = self.family.block.tensors.iter().find(|template| template.name == name);
        match template {
            Some(template) if template.is_switched_on(self.config)? => {
                self.tensor(&scope.filled(&name)).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The tests hold every script to the taps that it lists.
    fn tap(&self, name: &str) -> Tap {
        self.taps[name]
    }

    fn width(&self, tap: Tap) -> usize {
        self.facts[tap.0].width
    }

    fn size(&self, size: &Expression) -> usize {
        self.sizes.value(size).unwrap_or_default()
    }
}

impl Scope<'_> {
    fn filled(self, name: &str) -> String {
        let expert = self.expert.map(|expert| expert.to_string()).unwrap_or_default();
        format!("{}{name}", self.path).replace("{expert}", &expert)
    }
}
