//! Activations of straight pieces.

use super::Function;
use crate::simd::Lanes;

#[derive(Clone, Copy)]
pub(super) struct Relu;

impl Function for Relu {
    #[inline(always)]
    fn value<S: Lanes>(self, s: S, x: S::V) -> S::V {
        s.max(s.splat(0.0), x)
    }

    #[inline(always)]
    fn gradient<S: Lanes>(self, s: S, y: S::V, dy: S::V) -> S::V {
        s.if_gt(y, s.splat(0.0), dy, s.splat(0.0))
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Clip {
    pub(crate) min: f32,
    pub(crate) max: f32,
}

impl Function for Clip {
    #[inline(always)]
    fn value<S: Lanes>(self, s: S, x: S::V) -> S::V {
        s.min(s.splat(self.max), s.max(s.splat(self.min), x))
    }

    #[inline(always)]
    fn gradient<S: Lanes>(self, s: S, y: S::V, dy: S::V) -> S::V {
        let below_max = s.if_gt(s.splat(self.max), y, dy, s.splat(0.0));
        s.if_gt(y, s.splat(self.min), below_max, s.splat(0.0))
    }
}

#[derive(Clone, Copy)]
pub(super) struct LeakyRelu {
    pub(super) alpha: f32,
}

impl Function for LeakyRelu {
    #[inline(always)]
    fn value<S: Lanes>(self, s: S, x: S::V) -> S::V {
        s.if_gt(x, s.splat(0.0), x, s.mul(x, s.splat(self.alpha)))
    }

    #[inline(always)]
    fn gradient<S: Lanes>(self, s: S, saved: S::V, dy: S::V) -> S::V {
        s.if_gt(saved, s.splat(0.0), dy, s.mul(dy, s.splat(self.alpha)))
    }
}

#[derive(Clone, Copy)]
pub(super) struct HardSigmoid {
    pub(super) alpha: f32,
    pub(super) beta: f32,
}

impl Function for HardSigmoid {
    #[inline(always)]
    fn value<S: Lanes>(self, s: S, x: S::V) -> S::V {
        let line = s.fma(x, s.splat(self.alpha), s.splat(self.beta));
        Clip { min: 0.0, max: 1.0 }.value(s, line)
    }

    #[inline(always)]
    fn gradient<S: Lanes>(self, s: S, y: S::V, dy: S::V) -> S::V {
        Clip { min: 0.0, max: 1.0 }.gradient(s, y, s.mul(dy, s.splat(self.alpha)))
    }
}

#[derive(Clone, Copy)]
pub(super) struct HardSwish;

impl HardSwish {
    const GATE: HardSigmoid = HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 };
}

impl Function for HardSwish {
    #[inline(always)]
    fn value<S: Lanes>(self, s: S, x: S::V) -> S::V {
        s.mul(x, Self::GATE.value(s, x))
    }

    #[inline(always)]
    fn gradient<S: Lanes>(self, s: S, x: S::V, dy: S::V) -> S::V {
        let inside = s.mul(dy, s.fma(x, s.splat(1.0 / 3.0), s.splat(0.5)));
        let right = s.if_gt(s.splat(3.0), x, inside, dy);
        s.if_gt(x, s.splat(-3.0), right, s.splat(0.0))
    }
}

/// `x` above `alpha`, else zero.
#[derive(Clone, Copy)]
pub(super) struct ThresholdedRelu {
    pub(super) alpha: f32,
}

impl Function for ThresholdedRelu {
    #[inline(always)]
    fn value<S: Lanes>(self, s: S, x: S::V) -> S::V {
        // Below the next number, so that what is not a number takes the other way.
        s.if_gt(s.splat(self.alpha.next_up()), x, s.splat(0.0), x)
    }

    #[inline(always)]
    fn gradient<S: Lanes>(self, s: S, x: S::V, dy: S::V) -> S::V {
        s.if_gt(x, s.splat(self.alpha), dy, s.splat(0.0))
    }
}

#[derive(Clone, Copy)]
pub(super) struct Shrink {
    pub(super) bias: f32,
    pub(super) lambd: f32,
}

impl Function for Shrink {
    #[inline(always)]
    fn value<S: Lanes>(self, s: S, x: S::V) -> S::V {
        let bias = s.splat(self.bias);
        let left = s.if_gt(s.splat(-self.lambd), x, s.add(x, bias), s.splat(0.0));
        // As above. A negative `lambd` makes both true: ONNX asks for the left piece first.
        let right = s.if_gt(s.splat(self.lambd.next_up()), x, left, s.sub(x, bias));
        s.if_gt(s.splat(-self.lambd), x, left, right)
    }

    #[inline(always)]
    fn gradient<S: Lanes>(self, s: S, x: S::V, dy: S::V) -> S::V {
        let right = s.if_gt(x, s.splat(self.lambd), dy, s.splat(0.0));
        s.if_gt(s.splat(-self.lambd), x, dy, right)
    }
}
