//! Deformable convolution and its gradients against loops in `f64` from the definition.

mod blocked;

use blocked::*;
use svertka_kernels::Cpu;
use svertka_kernels::deform_conv::{
    DeformGeometry, Offsets, forward, forward_scratch_len, input_backward, input_backward_scratch_len,
    offset_backward, offset_backward_scratch_len, weight_backward, weight_backward_scratch_len,
};
use svertka_kernels::geometry::{ConvGeometry, Window};
use svertka_kernels::reference::conv_forward;

fn geometries() -> Vec<DeformGeometry> {
    let geometry = |batch,
                    [in_c, out_c]: [usize; 2],
                    groups,
                    offset_groups,
                    [height, width]: [usize; 2],
                    kernel: [usize; 2],
                    stride: [usize; 2],
                    dilation: [usize; 2],
                    padding: [(usize, usize); 2]| {
        let window = Window {
            kernel: [1, kernel[0], kernel[1]],
            stride: [1, stride[0], stride[1]],
            dilation: [1, dilation[0], dilation[1]],
            padding: [(0, 0), padding[0], padding[1]],
        };
        let conv = ConvGeometry::new(batch, in_c, out_c, groups, [1, height, width], window).unwrap();
        DeformGeometry { conv, offset_groups }
    };
    let none = [(0, 0); 2];
    vec![
        geometry(1, [1, 1], 1, 1, [5, 4], [1, 1], [1, 1], [1, 1], none),
        geometry(2, [3, 5], 1, 1, [5, 7], [3, 2], [1, 1], [1, 1], [(1, 1), (0, 1)]),
        geometry(2, [4, 6], 2, 2, [9, 8], [2, 3], [2, 3], [2, 1], [(0, 2), (1, 0)]),
        // Several blocks of channels in each group, which groups of offsets cut; several chunks, the last one not full.
        geometry(1, [48, 9], 3, 2, [11, 13], [3, 3], [1, 1], [1, 1], [(1, 1); 2]),
        geometry(2, [34, 17], 1, 17, [8, 9], [3, 5], [1, 2], [2, 1], [(2, 0), (0, 3)]),
        // Depthwise.
        geometry(2, [9, 9], 9, 9, [6, 5], [3, 3], [1, 1], [1, 1], [(1, 1); 2]),
        // A kernel of more taps than a block has rows.
        geometry(1, [2, 3], 1, 1, [12, 13], [12, 13], [1, 1], [1, 1], [(1, 0), (0, 1)]),
        // No picture; no cell but padding; one wide.
        geometry(0, [3, 2], 1, 1, [5, 4], [3, 2], [1, 1], [1, 1], none),
        geometry(1, [2, 3], 1, 1, [0, 4], [2, 2], [1, 1], [1, 1], [(1, 1), (0, 0)]),
        geometry(1, [3, 2], 1, 3, [7, 1], [3, 1], [2, 1], [1, 1], [(1, 1), (0, 0)]),
    ]
}

struct Case {
    g: DeformGeometry,
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    offset: Vec<f32>,
    mask: Option<Vec<f32>>,
    dy: Vec<f32>,
}

impl Case {
    fn new(g: DeformGeometry, mask: bool) -> Self {
        let pixels =
            |channels: usize, size: [usize; 3]| g.conv.batch * channels * size.iter().product::<usize>();
        Self {
            g,
            x: numbers(pixels(g.conv.in_channels, g.conv.input), 1),
            weight: numbers(g.conv.weight_len(), 2),
            bias: numbers(g.conv.out_channels, 3),
            // Up to five cells away, so that many lie outside; some halfway into the padding.
            offset: numbers(g.offset_len(), 4).iter().map(|o| 2.5 * o).collect(),
            mask: mask.then(|| numbers(g.mask_len(), 5)),
            dy: numbers(pixels(g.conv.out_channels, g.conv.output), 6),
        }
    }

    fn at(&self) -> Offsets<'_> {
        Offsets { offset: &self.offset, mask: self.mask.as_deref() }
    }

    /// Output, then the gradients of input, weight, bias, offset and mask, by one loop over every product of the definition.
    fn expected(&self) -> [Vec<f64>; 6] {
        let (g, taps, pixels) = (&self.g.conv, self.g.taps(), self.g.pixels());
        let (group_in, group_out) = (g.in_channels / g.groups, g.out_channels / g.groups);
        let [_, height, width] = g.input;
        let zeros = |len: usize| vec![0.0_f64; len];
        let (mut y, mut dx, mut dw) = (zeros(self.dy.len()), zeros(self.x.len()), zeros(self.weight.len()));
        let (mut db, mut d_offset, mut d_mask) =
            (zeros(self.bias.len()), zeros(self.offset.len()), zeros(self.g.mask_len()));
        for (o, &dy) in self.dy.iter().enumerate() {
            let (image, channel, pixel) =
                (o / pixels / g.out_channels, o / pixels % g.out_channels, o % pixels);
            y[o] += f64::from(self.bias[channel]);
            let dy = f64::from(dy);
            db[channel] += dy;
            for c in 0..group_in * taps {
                let (in_channel, tap) = (channel / group_out * group_in + c / taps, c % taps);
                let w = channel * group_in * taps + c;
                let moved = (image * self.g.offset_groups
                    + in_channel / (g.in_channels / self.g.offset_groups))
                    * taps
                    + tap;
                let mask_at = moved * pixels + pixel;
                let offset_at = [2 * moved * pixels + pixel, (2 * moved + 1) * pixels + pixel];
                let cell = [pixel / g.output[2], pixel % g.output[2]];
                let of_kernel = [tap / g.window.kernel[2], tap % g.window.kernel[2]];
                let position = [0, 1].map(|a| {
                    let start = cell[a] * g.window.stride[a + 1] + of_kernel[a] * g.window.dilation[a + 1];
                    // The kernel rounds positions to 32 bits, as PyTorch does.
                    f64::from(start as f32 - g.window.padding[a + 1].0 as f32 + self.offset[offset_at[a]])
                });
                let mask = self.mask.as_ref().map_or(1.0, |mask| f64::from(mask[mask_at]));
                let weight = f64::from(self.weight[w]);
                // A hat function around each cell of the picture.
                for line in 0..height {
                    for column in 0..width {
                        let away = [line as f64 - position[0], column as f64 - position[1]];
                        let hat = away.map(|away| (1.0 - away.abs()).max(0.0));
                        // At its kinks the slope towards larger coordinates.
                        let slope = away.map(|away| match away {
                            away if away > 0.0 && away <= 1.0 => 1.0,
                            away if away > -1.0 && away <= 0.0 => -1.0,
                            _ => 0.0,
                        });
                        if (0..2).any(|a| hat[a] == 0.0 && slope[a] == 0.0) {
                            continue;
                        }
                        let x_at = ((image * g.in_channels + in_channel) * height + line) * width + column;
                        let x = f64::from(self.x[x_at]);
                        y[o] += weight * mask * x * hat[0] * hat[1];
                        dx[x_at] += dy * weight * mask * hat[0] * hat[1];
                        dw[w] += dy * mask * x * hat[0] * hat[1];
                        d_offset[offset_at[0]] += dy * weight * mask * x * slope[0] * hat[1];
                        d_offset[offset_at[1]] += dy * weight * mask * x * hat[0] * slope[1];
                        d_mask[mask_at] += dy * weight * x * hat[0] * hat[1];
                    }
                }
            }
        }
        [y, dx, dw, db, d_offset, d_mask]
    }
}

/// Within `1e-5` of the largest number.
fn assert_near(got: &[f32], expected: &[f64], what: &str) {
    let largest = expected.iter().fold(1.0_f64, |a, b| a.max(b.abs()));
    let scale = |values: &[f64]| values.iter().map(|v| v / largest).collect::<Vec<_>>();
    assert_close(&scale(&wide(got)), &scale(expected), 1e-5, what);
}

/// A pass as a function of the machine that gives `len` numbers.
fn pass(
    g: DeformGeometry,
    len: usize,
    scratch: fn(&DeformGeometry, usize) -> usize,
    kernel: impl Fn(&Cpu, &mut [f32], &mut [f32]),
) -> impl Fn(&Cpu) -> Vec<f32> {
    move |cpu| {
        let mut scratch = vec![f32::NAN; scratch(&g, cpu.threads.count())];
        let mut made = vec![f32::NAN; len];
        kernel(cpu, &mut made, &mut scratch);
        made
    }
}

#[test]
fn every_pass_is_what_the_definition_says() {
    for g in geometries() {
        for mask in [false, true] {
            let case = Case::new(g, mask);
            let Case { x, weight, bias, dy, .. } = &case;
            let [y, dx, dw, db, d_offset, d_mask] = case.expected();
            let what = |name: &str| format!("{name} of {g:?}, mask {mask}");
            let made = pass(g, y.len(), forward_scratch_len, |cpu, made, scratch| {
                forward(cpu, &g, x, weight, case.at(), Some(bias), made, scratch);
            });
            on_every_machine(made, |made| assert_near(made, &y, &what("forward")));
            let made = pass(g, dx.len(), input_backward_scratch_len, |cpu, made, scratch| {
                input_backward(cpu, &g, weight, case.at(), dy, made, scratch);
            });
            on_every_machine(made, |made| assert_near(made, &dx, &what("input")));
            let made = pass(g, dw.len() + db.len(), weight_backward_scratch_len, |cpu, made, scratch| {
                let (made, bias) = made.split_at_mut(dw.len());
                weight_backward(cpu, &g, x, case.at(), dy, made, Some(bias), scratch);
            });
            on_every_machine(made, |made| {
                assert_near(&made[..dw.len()], &dw, &what("weight"));
                assert_near(&made[dw.len()..], &db, &what("bias"));
            });
            let made =
                pass(g, d_offset.len() + d_mask.len(), offset_backward_scratch_len, |cpu, made, scratch| {
                    let (made, mask_part) = made.split_at_mut(d_offset.len());
                    mask_part.fill(0.0);
                    offset_backward(
                        cpu,
                        &g,
                        x,
                        weight,
                        case.at(),
                        dy,
                        made,
                        mask.then_some(mask_part),
                        scratch,
                    );
                });
            on_every_machine(made, |made| {
                assert_near(&made[..d_offset.len()], &d_offset, &what("offset"));
                if mask {
                    assert_near(&made[d_offset.len()..], &d_mask, &what("mask"));
                }
            });
        }
    }
}

#[test]
fn without_offsets_it_is_the_convolution() {
    for g in geometries() {
        let Case { x, weight, bias, dy, .. } = Case::new(g, false);
        let (cpu, offset) = (Cpu::new(2), vec![0.0; g.offset_len()]);
        let mut scratch = vec![f32::NAN; forward_scratch_len(&g, 2)];
        let mut y = vec![f32::NAN; dy.len()];
        forward(
            &cpu,
            &g,
            &x,
            &weight,
            Offsets { offset: &offset, mask: None },
            Some(&bias),
            &mut y,
            &mut scratch,
        );
        assert_near(
            &y,
            &conv_forward(&g.conv, &wide(&x), &wide(&weight), Some(&wide(&bias))),
            &format!("{g:?}"),
        );
    }
}

#[test]
fn not_a_number_is_seen_and_what_lies_outside_is_not_read() {
    let window = Window { kernel: [1, 1, 1], ..Window::default() };
    let conv = ConvGeometry::new(1, 1, 1, 1, [1, 1, 3], window).unwrap();
    let g = DeformGeometry { conv, offset_groups: 1 };
    let run = |x: [f32; 3], across: [f32; 3]| {
        let offset = [[0.0; 3], across].concat();
        let mut y = [0.0; 3];
        let mut scratch = vec![0.0; forward_scratch_len(&g, 1)];
        let at = Offsets { offset: &offset, mask: None };
        forward(&Cpu::new(1), &g, &x, &[1.0], at, None, &mut y, &mut scratch);
        y
    };
    assert!(run([1.0, 2.0, 3.0], [0.0, f32::NAN, 0.0])[1].is_nan());
    assert!(run([1.0, f32::NAN, 3.0], [0.5, 0.0, 0.0])[0].is_nan());
    // Half of the last cell, half of nothing; far away; a cell before the first.
    assert_eq!(run([f32::INFINITY, 2.0, 3.0], [-7.0, 1.5, 1e30]), [0.0, 1.5, 0.0]);
    assert_eq!(run([4.0, f32::NAN, f32::NAN], [-0.75, -1.25, -3.0]), [1.0, 3.0, 0.0]);
}
