//! The optimizers of ONNX against their definitions in `f64`.

mod blocked;

use blocked::*;
use svertka_kernels::Cpu;
use svertka_kernels::optimizer_rule::*;

#[test]
fn steps_follow_the_definitions() {
    let (rate, decay) = (0.1f32, 0.01f32);
    let rules = [
        Rule::Adam { alpha: 0.9, beta: 0.99, eps: 1e-3, decay_after: 0.05 },
        Rule::Adagrad { eps: 1e-3, rate_decay: 0.1 },
        Rule::Momentum { alpha: 0.9, beta: 0.5, nesterov: false },
        Rule::Momentum { alpha: 0.9, beta: 0.5, nesterov: true },
    ];
    let wide_of = f64::from;
    for (rule, t, len) in
        rules.into_iter().flat_map(|rule| [(rule, 0.0, 83), (rule, 3.0, 40_003), (rule, 1.0, 0)])
    {
        let (x, gradient, v) = (numbers(len, 1), numbers(len, 2), numbers(len, 3));
        let v: Vec<f32> = v.iter().map(|v| v.abs()).collect();
        let h: Vec<f32> = numbers(len, 4).iter().map(|h| h.abs() + 0.1).collect();
        let mut expected = vec![vec![]; 3];
        for i in 0..len {
            let (x, v, h, r) = (wide_of(x[i]), wide_of(v[i]), wide_of(h[i]), wide_of(rate));
            let g = wide_of(gradient[i]) + wide_of(decay) * x;
            let (new, first, second) = match rule {
                Rule::Adam { alpha, beta, eps, decay_after } => {
                    let [a, b] = [alpha, beta].map(wide_of);
                    let (v, h) = (a * v + (1.0 - a) * g, b * h + (1.0 - b) * g * g);
                    let t = f64::from(t);
                    let r = if t > 0.0 { r * (1.0 - b.powf(t)).sqrt() / (1.0 - a.powf(t)) } else { r };
                    ((1.0 - wide_of(decay_after)) * (x - r * v / (h.sqrt() + wide_of(eps))), v, h)
                }
                Rule::Adagrad { eps, rate_decay } => {
                    let h = v + g * g;
                    let r = r / (1.0 + f64::from(t) * wide_of(rate_decay));
                    (x - r * g / (h.sqrt() + wide_of(eps)), h, 0.0)
                }
                Rule::Momentum { alpha, beta, nesterov } => {
                    let v = wide_of(alpha) * v + if t > 0.0 { wide_of(beta) } else { 1.0 } * g;
                    (x - r * if nesterov { g + wide_of(alpha) * v } else { v }, v, 0.0)
                }
            };
            expected.iter_mut().zip([new, first, second]).for_each(|(out, value)| out.push(value));
        }
        let run = |cpu: &Cpu| {
            let mut out = vec![vec![f32::NAN; len]; 1 + rule.states()];
            let (new_x, states) = out.split_at_mut(1);
            let mut states: Vec<&mut [f32]> = states.iter_mut().map(Vec::as_mut_slice).collect();
            let second = if rule.states() == 2 { &h } else { &v };
            let numbers = [rate, t, decay];
            optimizer_step(cpu, rule, numbers, [&x, &gradient], [&v, second], &mut new_x[0], &mut states);
            out.concat()
        };
        let expected = expected[..=rule.states()].concat();
        on_every_machine(run, |got| assert_close(&wide(got), &expected, 2e-6, &format!("{rule:?} at {t}")));
    }
}
