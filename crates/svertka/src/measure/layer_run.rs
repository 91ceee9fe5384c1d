//! One layer between blocked activations, as inside a network, without a plan around it.

use svertka_kernels::conv::{Algorithm, Forward, InputGradient, WeightGradient};
use svertka_kernels::epilogue::Epilogue;
use svertka_kernels::geometry::ConvGeometry;
use svertka_kernels::layout::{blocked_len, to_blocked, to_plain};
use svertka_kernels::norm::{channel_sums, channel_sums_scratch_len};
use svertka_kernels::planes::Planes;
use svertka_kernels::{Buffer, Cpu};

use super::layers::Layer;
use super::{filled, numbers};
use crate::error::{Error, Result};
use crate::plan::MAX_ELEMENTS;

/// A layer with its weight packed once, as in inference. The input is blocked, but that of a first layer of few channels, which
/// is a plain picture.
pub struct LayerRun {
    pass: Pass,
    weight: Buffer,
    bias: Buffer,
    x: Buffer,
    packed: Buffer,
    y: Buffer,
    scratch: Buffer,
    input: Planes,
    output: Planes,
}

enum Pass {
    Conv(Forward),
    Transposed(InputGradient),
}

impl LayerRun {
    /// Ready to run, filled with [`numbers`].
    ///
    /// # Errors
    /// Where the layer's sizes do not fit together.
    pub fn new(layer: &Layer, batch: usize, cpu: &Cpu) -> Result<Self> {
        let g = layer.geometry(batch)?;
        expect_memory(&g)?;
        let planes = |channels, cells: [usize; 3]| Planes { batch, channels, pixels: cells.iter().product() };
        let [near, far] = [planes(g.in_channels, g.input), planes(g.out_channels, g.output)];
        let (input, output) = if layer.transposed { (far, near) } else { (near, far) };
        let weight = filled(g.weight_len());
        let (pass, packed, scratch) = if layer.transposed {
            let pass = InputGradient::new(&g);
            let (packed, scratch) = (pass.packed_len(), pass.scratch_len(cpu.threads.count()));
            (Pass::Transposed(pass), packed, scratch)
        } else {
            let pass = Forward::new(&g);
            let (packed, scratch) = (pass.packed_len(), pass.scratch_len(cpu.threads.count()));
            (Pass::Conv(pass), packed, scratch)
        };
        let picture = numbers([batch, input.channels, input.pixels]);
        let plain = matches!(&pass, Pass::Conv(pass) if pass.algorithm().reads_plain());
        let x = if plain {
            Buffer::from(picture.data())
        } else {
            let mut x = Buffer::zeroed(input.elements());
            to_blocked(batch, input.channels, input.pixels, picture.data(), &mut x, cpu);
            x
        };
        let mut run = Self {
            pass,
            weight,
            bias: filled(output.channels),
            x,
            packed: Buffer::zeroed(packed),
            y: Buffer::zeroed(output.elements()),
            scratch: Buffer::zeroed(scratch),
            input,
            output,
        };
        run.pack(cpu);
        Ok(run)
    }

    fn pack(&mut self, cpu: &Cpu) {
        match &self.pass {
            Pass::Conv(pass) => pass.pack(cpu, &self.weight, &mut self.packed),
            Pass::Transposed(pass) => pass.pack(cpu, &self.weight, &mut self.packed),
        }
    }

    /// The layer once.
    pub fn run(&mut self, cpu: &Cpu) {
        let (x, packed, epilogue) = (&self.x, &self.packed, &Epilogue::bias(&self.bias));
        match &self.pass {
            Pass::Conv(pass) => pass.run(cpu, x, packed, epilogue, &mut self.y, &mut self.scratch),
            Pass::Transposed(pass) => {
                pass.run_with_epilogue(cpu, x, packed, epilogue, &mut self.y, &mut self.scratch);
            }
        }
    }

    /// The algorithm that the layer goes by.
    pub fn algorithm(&self) -> Algorithm {
        match &self.pass {
            Pass::Conv(pass) => pass.algorithm(),
            Pass::Transposed(pass) => pass.algorithm(),
        }
    }

    /// Multiply-accumulates of a run, those on padding counted.
    pub fn macs(&self) -> u64 {
        self.geometry().macs()
    }

    /// The output of the last run, plain.
    pub fn output(&self, cpu: &Cpu) -> Buffer {
        plain(self.output, &self.y, cpu)
    }

    fn geometry(&self) -> &ConvGeometry {
        match &self.pass {
            Pass::Conv(pass) => pass.geometry(),
            Pass::Transposed(pass) => pass.geometry(),
        }
    }
}

/// A layer as a training step has it: forward, then the gradients of input, weight and bias for some gradient of the output. As the weight is
/// another in each step, it is packed in each run.
pub struct LayerStep {
    forward: LayerRun,
    input_gradient: Pass,
    weight_gradient: WeightGradient,
    packed: Buffer,
    dy: Buffer,
    dx: Buffer,
    dw: Buffer,
    db: Buffer,
    scratch: Buffer,
}

impl LayerStep {
    /// Ready to run, filled with [`numbers`].
    ///
    /// # Errors
    /// As [`LayerRun::new`].
    pub fn new(layer: &Layer, batch: usize, cpu: &Cpu) -> Result<Self> {
        let (g, threads) = (layer.geometry(batch)?, cpu.threads.count());
        let forward = LayerRun::new(layer, batch, cpu)?;
        let weight_gradient = WeightGradient::new(&g);
        // The gradient of a transposed convolution is the convolution that leads back.
        let (input_gradient, packed, scratch, sums) = if layer.transposed {
            let pass = Forward::new(&g);
            let (packed, scratch) = (pass.packed_len(), pass.scratch_len(threads));
            (Pass::Conv(pass), packed, scratch, channel_sums_scratch_len(forward.output))
        } else {
            let pass = InputGradient::new(&g);
            let (packed, scratch) = (pass.packed_len(), pass.scratch_len(threads));
            (Pass::Transposed(pass), packed, scratch, 0)
        };
        let scratch = scratch.max(weight_gradient.scratch_len(threads)).max(sums);
        let Planes { batch, channels, pixels } = forward.output;
        let mut dy = Buffer::zeroed(blocked_len(batch, channels, pixels));
        to_blocked(batch, channels, pixels, &filled(batch * channels * pixels), &mut dy, cpu);
        Ok(Self {
            input_gradient,
            weight_gradient,
            packed: Buffer::zeroed(packed),
            dy,
            dx: Buffer::zeroed(forward.input.elements()),
            dw: Buffer::zeroed(g.weight_len()),
            db: Buffer::zeroed(channels),
            scratch: Buffer::zeroed(scratch),
            forward,
        })
    }

    /// The four results once.
    pub fn run(&mut self, cpu: &Cpu) {
        let Self { forward, packed, dy, dx, dw, db, scratch, .. } = self;
        forward.pack(cpu);
        forward.run(cpu);
        match &self.input_gradient {
            Pass::Transposed(pass) => {
                pass.pack(cpu, &forward.weight, packed);
                pass.run(cpu, dy, packed, dx, scratch);
                self.weight_gradient.run(cpu, &forward.x, dy, dw, Some(db), scratch);
            }
            Pass::Conv(pass) => {
                pass.pack(cpu, &forward.weight, packed);
                pass.run(cpu, dy, packed, &Epilogue::NONE, dx, scratch);
                self.weight_gradient.run(cpu, dy, &forward.x, dw, None, scratch);
                channel_sums(cpu, forward.output, dy, db, scratch);
            }
        }
    }

    /// Gradients of input, weight and bias of the last run, plain.
    pub fn gradients(&self, cpu: &Cpu) -> [Buffer; 3] {
        [plain(self.forward.input, &self.dx, cpu), self.dw.clone(), self.db.clone()]
    }
}

/// Refuses what would end in an allocation that fails.
fn expect_memory(g: &ConvGeometry) -> Result<()> {
    let [input, output] = [(g.in_channels, g.input), (g.out_channels, g.output)]
        .map(|(channels, cells)| blocked_len(g.batch, channels, cells.iter().product()));
    let elements = input.saturating_add(output).saturating_add(g.weight_len());
    if elements > MAX_ELEMENTS {
        let expected = format!("at most {MAX_ELEMENTS} numbers in memory at a time");
        return Err(Error::argument("layer", "batch", expected, format!("{}: {elements}", g.batch)));
    }
    Ok(())
}

fn plain(planes: Planes, blocked: &[f32], cpu: &Cpu) -> Buffer {
    let Planes { batch, channels, pixels } = planes;
    let mut plain = Buffer::zeroed(batch * channels * pixels);
    to_plain(batch, channels, pixels, blocked, &mut plain, cpu);
    plain
}
