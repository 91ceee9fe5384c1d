//! Steps of optimizers (ONNX `Adam`, `Adagrad` and `Momentum` of the domain `ai.onnx.preview.training`), for files that train themselves. This library's
//! own training does not use them.

use std::ops::RangeInclusive;

use svertka_kernels::optimizer_rule::{Rule, optimizer_step};

use super::{Layouts, Lowered, Operator, Shapes, elements, expect_shape};
use crate::error::{Error, Result};
use crate::onnx::{Attributes, Export, Import};

/// One step. Inputs: learning rate and number of the step, one number each, then weight, gradient and states, of one shape. Outputs: the new weight and
/// states. It has no gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimizerStep {
    /// How a weight changes.
    pub rule: Rule,
    /// Share of the weight that is added to the gradient.
    pub decay: f32,
}

impl Operator for OptimizerStep {
    fn name(&self) -> &'static str {
        match self.rule {
            Rule::Adam { .. } => "Adam",
            Rule::Adagrad { .. } => "Adagrad",
            Rule::Momentum { .. } => "Momentum",
        }
    }

    fn arity(&self) -> RangeInclusive<usize> {
        4 + self.rule.states()..=4 + self.rule.states()
    }

    fn infer(&self, inputs: &[&[usize]]) -> Result<Vec<Vec<usize>>> {
        for (argument, shape) in ["learning rate", "step"].iter().zip(inputs) {
            if elements(shape) != 1 {
                return Err(Error::argument(
                    self.name(),
                    *argument,
                    "one number",
                    format!("shape {shape:?}"),
                ));
            }
        }
        for (argument, shape) in ["gradient", "first state", "second state"].iter().zip(&inputs[3..]) {
            expect_shape(self, argument, inputs[2], shape)?;
        }
        Ok(vec![inputs[2].to_vec(); 1 + self.rule.states()])
    }

    fn layouts(&self, _: &Shapes<'_>) -> Layouts {
        Layouts::Plain
    }

    fn lower(&self, _: &Shapes<'_>, _: usize) -> Result<Lowered> {
        let Self { rule, decay } = *self;
        Ok(Lowered::new(move |cpu, io| {
            let numbers = [io.inputs.get(0)[0], io.inputs.get(1)[0], decay];
            let read = [2, 3].map(|i| io.inputs.get(i));
            let states = [4, 3 + rule.states()].map(|i| io.inputs.get(i));
            let (x, new) = io.outputs.split_at_mut(1);
            match new {
                [first, second] => {
                    optimizer_step(cpu, rule, numbers, read, states, &mut x[0], &mut [first, second]);
                }
                new => {
                    let first = new.first_mut().expect("a rule has one state at least");
                    optimizer_step(cpu, rule, numbers, read, states, &mut x[0], &mut [first]);
                }
            }
        }))
    }

    /// In this library's own domain, as the step's number is a float here.
    fn export(&self, export: &mut Export<'_>) -> Result<()> {
        let attributes = Attributes::new().float("norm_coefficient", self.decay);
        let attributes = match self.rule {
            Rule::Adam { alpha, beta, eps, decay_after } => attributes
                .float("alpha", alpha)
                .float("beta", beta)
                .float("epsilon", eps)
                .float("norm_coefficient_post", decay_after),
            Rule::Adagrad { eps, rate_decay } => {
                attributes.float("epsilon", eps).float("decay_factor", rate_decay)
            }
            Rule::Momentum { alpha, beta, nesterov } => attributes
                .float("alpha", alpha)
                .float("beta", beta)
                .string("mode", if nesterov { "nesterov" } else { "standard" }),
        };
        export.own_node(self.name(), attributes);
        Ok(())
    }
}

pub(super) fn import_adam(import: &mut Import<'_>) -> Result<()> {
    let rule = Rule::Adam {
        alpha: import.float("alpha", 0.9)?,
        beta: import.float("beta", 0.999)?,
        eps: import.float("epsilon", 1e-6)?,
        decay_after: import.float("norm_coefficient_post", 0.0)?,
    };
    import_rule(import, rule)
}

pub(super) fn import_adagrad(import: &mut Import<'_>) -> Result<()> {
    let eps = import.float("epsilon", 1e-6)?;
    let rule = Rule::Adagrad { eps, rate_decay: import.float("decay_factor", 0.0)? };
    import_rule(import, rule)
}

/// `Momentum`; its attributes have no defaults in ONNX.
pub(super) fn import_momentum(import: &mut Import<'_>) -> Result<()> {
    let nesterov = match import.string("mode", "")?.as_str() {
        "standard" => false,
        "nesterov" => true,
        other => return Err(Error::unsupported("Momentum", format!("mode = {other:?}"))),
    };
    let rule =
        Rule::Momentum { alpha: import.float("alpha", 0.0)?, beta: import.float("beta", 1.0)?, nesterov };
    import_rule(import, rule)
}

/// The node steps any number of weights: rate and step, then all weights, all gradients, all first states and so on. The outputs come likewise.
fn import_rule(import: &mut Import<'_>, rule: Rule) -> Result<()> {
    let op = OptimizerStep { rule, decay: import.float("norm_coefficient", 0.0)? };
    let inputs = import.all_inputs()?;
    let (kinds, tensors) = (2 + rule.states(), inputs.len().saturating_sub(2));
    if tensors == 0 || !tensors.is_multiple_of(kinds) {
        let expected = format!("2 and {kinds} for each weight");
        return Err(Error::argument(import.op_type(), "inputs", expected, inputs.len()));
    }
    let weights = tensors / kinds;
    for weight in 0..weights {
        let of_weight = (0..kinds).map(|kind| inputs[2 + kind * weights + weight]);
        let read: Vec<_> = inputs[..2].iter().copied().chain(of_weight).collect();
        let made = import.append(&format!("weight{weight}"), op, &read)?;
        for (kind, value) in made.into_iter().enumerate() {
            import.define(kind * weights + weight, value);
        }
    }
    Ok(())
}
