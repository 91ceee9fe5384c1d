//! A node made ready to run: its kernel, and what the kernel reads and writes.

use svertka_kernels::{Buffer, Cpu};

/// Code that makes a node's outputs from its inputs.
pub type Kernel = Box<dyn FnMut(&Cpu, &mut Io<'_>) + Send>;

/// A node ready to run.
pub struct Lowered {
    /// What to run.
    pub kernel: Kernel,
    /// Elements of scratch memory.
    pub scratch: usize,
    /// Inputs that the kernel wants in a form of its own; it then gets that instead of the input.
    pub packs: Vec<Pack>,
    /// The input where output 0 may stand; [`Io::in_place`] then says that it does.
    pub in_place: Option<usize>,
    /// The way it is computed, where there are several.
    pub algorithm: Option<&'static str>,
}

/// The making of a packed input.
pub struct Pack {
    /// Which input.
    pub input: usize,
    /// Elements of the packed form.
    pub len: usize,
    /// Makes it: input 0 to output 0.
    pub kernel: Kernel,
}

impl Lowered {
    /// A kernel without scratch memory.
    pub fn new(kernel: impl FnMut(&Cpu, &mut Io<'_>) + Send + 'static) -> Self {
        Self { kernel: Box::new(kernel), scratch: 0, packs: vec![], in_place: None, algorithm: None }
    }

    /// With `scratch` elements of scratch memory.
    #[must_use]
    pub fn scratch(mut self, scratch: usize) -> Self {
        self.scratch = scratch;
        self
    }

    /// Output 0 may stand where input 0 stood.
    #[must_use]
    pub fn in_place(self) -> Self {
        self.in_place_of(0)
    }

    /// Output 0 may stand where input `input` stood.
    #[must_use]
    pub fn in_place_of(mut self, input: usize) -> Self {
        self.in_place = Some(input);
        self
    }

    /// Names the algorithm, for those who look at a plan.
    #[must_use]
    pub fn algorithm(mut self, name: &'static str) -> Self {
        self.algorithm = Some(name);
        self
    }

    /// Input `input` is wanted packed.
    #[must_use]
    pub fn pack(
        mut self,
        input: usize,
        len: usize,
        kernel: impl FnMut(&Cpu, &mut Io<'_>) + Send + 'static,
    ) -> Self {
        self.packs.push(Pack { input, len, kernel: Box::new(kernel) });
        self
    }
}

/// An output buffer with the length that is used of it.
#[derive(Debug, Default)]
pub struct Output {
    pub(crate) buffer: Buffer,
    pub(crate) len: usize,
}

impl std::ops::Deref for Output {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.buffer[..self.len]
    }
}

impl std::ops::DerefMut for Output {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.buffer[..self.len]
    }
}

/// What a kernel reads and writes.
pub struct Io<'a> {
    /// The inputs.
    pub inputs: Inputs<'a>,
    /// The outputs, of the right lengths, with arbitrary content.
    pub outputs: &'a mut [Output],
    /// Scratch memory, with arbitrary content.
    pub scratch: &'a mut [f32],
    /// Whether output 0 holds the input that it may stand for.
    pub in_place: bool,
    /// Seed of this run, for operators that draw random numbers.
    pub seed: u64,
}

impl<'a> Io<'a> {
    /// Input 0, or `None` where it stands in output 0. For kernels that work in place of no other input.
    pub fn first(&self) -> Option<&'a [f32]> {
        (!self.in_place).then(|| self.inputs.get(0))
    }
}

/// The inputs of a kernel.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    pub(crate) locations: &'a [crate::plan::Location],
    pub(crate) memory: crate::plan::Memory<'a>,
}

impl<'a> Inputs<'a> {
    /// Input `index`.
    pub fn get(&self, index: usize) -> &'a [f32] {
        self.memory.get(self.locations[index])
    }

    /// Number of inputs.
    pub fn len(&self) -> usize {
        self.locations.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.locations.is_empty()
    }
}
