//! A model that only answers.

use std::path::Path;

use svertka_kernels::{Buffer, Cpu};

use crate::error::Result;
use crate::graph::Graph;
use crate::onnx::Model;
use crate::plan::{Plan, PlanOptions, Weights};
use crate::tensor::Tensor;

/// A model file ready to run. Its weights are read one by one and kept only in the form in which kernels want them: so it takes less memory
/// than a [`Model`] with a [`Plan`], and its first answer comes sooner. For one set of input shapes, like a plan.
///
/// ```
/// use svertka::{Cpu, Model, Network, Session, Tensor};
/// let network = Network::from_text("conv4 bn relu pool2 linear3", &[1, 6, 8], 0)?.finish();
/// let path = std::env::temp_dir().join(format!("svertka-session-{}.onnx", std::process::id()));
/// Model::new(network).save(&path)?;
/// let cpu = Cpu::new(1);
/// let mut session = Session::open(&path, 2, &cpu)?;
/// # std::fs::remove_file(&path).map_err(svertka::Error::io(&path))?;
/// session.run(&cpu, &[&Tensor::zeros([2, 1, 6, 8])])?;
/// assert_eq!(session.output_shape(0), [2, 3]);
/// assert_eq!(session.output(0), [0.0; 6]);
/// # Ok::<(), svertka::Error>(())
/// ```
pub struct Session {
    plan: Plan,
    /// Placeholders, but for what the plan reads in each run.
    parameters: Vec<Tensor>,
    input_shapes: Vec<Vec<usize>>,
}

impl Session {
    /// Reads an ONNX file and makes it ready for batches of `batch`; where the file fixes the batch, for that.
    ///
    /// # Errors
    /// As [`Model::load`] and [`Plan::new`].
    pub fn open(path: impl AsRef<Path>, batch: usize, cpu: &Cpu) -> Result<Self> {
        Self::open_with_options(path, batch, &PlanOptions::default(), cpu)
    }

    /// As [`Session::open`], with these options.
    ///
    /// # Errors
    /// As [`Session::open`] and [`Plan::with_options`].
    pub fn open_with_options(
        path: impl AsRef<Path>,
        batch: usize,
        options: &PlanOptions,
        cpu: &Cpu,
    ) -> Result<Self> {
        let path = path.as_ref();
        let (model, left) = Model::load_leaving(path, true)?;
        let input_shapes = model.graph.input_shapes(batch);
        let memory = Buffer::zeroed(left.largest());
        Self::prepared(model.graph, input_shapes, options, cpu, memory, |index, memory| {
            left.read(index, memory)
        })
        .map_err(|error| error.within(&path.display().to_string()))
    }

    /// Of a graph in memory, whose weights are let go once they are packed.
    ///
    /// # Errors
    /// As [`Plan::with_options`].
    pub fn new(
        graph: Graph,
        input_shapes: Vec<Vec<usize>>,
        options: &PlanOptions,
        cpu: &Cpu,
    ) -> Result<Self> {
        Self::prepared(graph, input_shapes, options, cpu, Buffer::default(), |_, _| Ok(None))
    }

    fn prepared(
        graph: Graph,
        input_shapes: Vec<Vec<usize>>,
        options: &PlanOptions,
        cpu: &Cpu,
        memory: Buffer,
        load: impl Fn(usize, &mut Buffer) -> Result<Option<Tensor>>,
    ) -> Result<Self> {
        let mut plan = Plan::unallocated(&graph, &input_shapes, Weights::Constant, options, cpu)?;
        let mut parameters = graph.into_parameters();
        plan.prepare(cpu, &mut parameters, memory, load)?;
        plan.allocate();
        Ok(Self { plan, parameters, input_shapes })
    }

    /// The shapes that [`Session::run`] takes.
    pub fn input_shapes(&self) -> &[Vec<usize>] {
        &self.input_shapes
    }

    /// Runs the model.
    ///
    /// # Errors
    /// Where the inputs have other shapes than [`Session::input_shapes`].
    pub fn run(&mut self, cpu: &Cpu, inputs: &[&Tensor]) -> Result<()> {
        self.plan.run(cpu, &self.parameters, inputs, 0)
    }

    /// Output `index` of the last run, row-major.
    ///
    /// # Panics
    /// Where the model has fewer outputs.
    pub fn output(&self, index: usize) -> &[f32] {
        self.plan.output(index)
    }

    /// The shape of output `index`.
    ///
    /// # Panics
    /// Where the model has fewer outputs.
    pub fn output_shape(&self, index: usize) -> &[usize] {
        self.plan.output_shape(index)
    }

    /// The plan behind it, for its figures.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// As [`Plan::run_observed`].
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn run_observed(
        &mut self,
        cpu: &Cpu,
        inputs: &[&Tensor],
        observe: impl FnMut(&str, std::time::Duration),
    ) -> Result<()> {
        self.plan.run_observed(cpu, &self.parameters, inputs, 0, observe)
    }
}
