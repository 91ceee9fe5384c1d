//! Pictures moved, turned, scaled and sheared.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Ranges of a random affine map, as in `torchvision.transforms.RandomAffine`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Affine {
    /// Rotation between minus and plus this many degrees.
    pub degrees: f32,
    /// Translation between minus and plus this fraction of the width, and of the height.
    pub translate: f32,
    /// Smallest and largest scale; above 1 enlarges.
    pub scale: (f32, f32),
    /// Horizontal shear between minus and plus this many degrees.
    pub shear: f32,
}

/// From a place in the result to the place in the picture, x then y: `x' = x[0] x + x[1] y + x[2]`.
pub(super) struct Map {
    x: [f64; 3],
    y: [f64; 3],
}

impl Affine {
    /// A map out of these ranges for pictures of a size.
    pub(super) fn draw(&self, height: usize, width: usize, rng: &mut ChaCha8Rng) -> Map {
        let mut within = |range: f32| f64::from(range) * rng.random_range(-1.0..=1.0_f64);
        let (angle, shear) = (within(self.degrees).to_radians(), within(self.shear).to_radians());
        let (right, down) = (within(self.translate) * width as f64, within(self.translate) * height as f64);
        let scale = rng.random_range(f64::from(self.scale.0)..=f64::from(self.scale.1));
        Map::new(height, width, angle, (right, down), scale, shear)
    }
}

impl Map {
    /// The inverse of: shear, rotate clockwise and scale about the centre, then translate. Angles in radians.
    fn new(
        height: usize,
        width: usize,
        angle: f64,
        (right, down): (f64, f64),
        scale: f64,
        shear: f64,
    ) -> Self {
        // Forward: scale * [cos, -sin; sin, cos] * [1, tan; 0, 1], of determinant scale^2.
        let (sin, cos) = angle.sin_cos();
        let tan = shear.tan();
        let x = [(sin * tan + cos) / scale, (sin - cos * tan) / scale];
        let y = [-sin / scale, cos / scale];
        let centre = ((width - 1) as f64 / 2.0, (height - 1) as f64 / 2.0);
        let (to_x, to_y) = (centre.0 + right, centre.1 + down);
        Self {
            x: [x[0], x[1], centre.0 - (x[0] * to_x + x[1] * to_y)],
            y: [y[0], y[1], centre.1 - (y[0] * to_x + y[1] * to_y)],
        }
    }

    /// Bilinear, black outside; places have 16 fractional bits, weights 8.
    pub(super) fn warp<const C: usize>(
        &self,
        pixels: &[[u8; C]],
        height: usize,
        width: usize,
        (dy, dx): (isize, isize),
        out: &mut [[u8; C]],
    ) {
        let fixed = |place: f64| (place * 65536.0).round() as i64;
        let (step_x, step_y) = (fixed(self.x[0]), fixed(self.y[0]));
        let (rows, columns) = (0..height as i64, 0..width as i64);
        let pixel = |y: i64, x: i64| {
            if rows.contains(&y) && columns.contains(&x) {
                pixels[y as usize * width + x as usize]
            } else {
                [0; C]
            }
        };
        for (row, y) in out.chunks_exact_mut(width).zip(dy..) {
            let (x, y) = (dx as f64, y as f64);
            let mut at_x = fixed(self.x[0] * x + self.x[1] * y + self.x[2]);
            let mut at_y = fixed(self.y[0] * x + self.y[1] * y + self.y[2]);
            for out in row {
                let (left, top) = (at_x >> 16, at_y >> 16);
                let (right, down) = ((at_x >> 8 & 255) as u32, (at_y >> 8 & 255) as u32);
                let [a, b] = [pixel(top, left), pixel(top, left + 1)];
                let [c, d] = [pixel(top + 1, left), pixel(top + 1, left + 1)];
                let mix = |from: u32, to: u32, share: u32| from * (256 - share) + to * share;
                *out = std::array::from_fn(|i| {
                    let above = mix(a[i].into(), b[i].into(), right);
                    let below = mix(c[i].into(), d[i].into(), right);
                    ((mix(above, below, down) + (1 << 15)) >> 16) as u8
                });
                (at_x, at_y) = (at_x + step_x, at_y + step_y);
            }
        }
    }
}

/// The picture seen from (`dy`, `dx`) pixels further down and right; black where nothing is.
pub(super) fn shifted<const C: usize>(
    pixels: &[[u8; C]],
    width: usize,
    (dy, dx): (isize, isize),
    out: &mut [[u8; C]],
) {
    let height = pixels.len() / width;
    out.fill([0; C]);
    let kept = width.saturating_sub(dx.unsigned_abs());
    let (from, to) = (dx.max(0) as usize, (-dx).max(0) as usize);
    for (y, row) in out.chunks_exact_mut(width).enumerate() {
        if let Some(source) = y.checked_add_signed(dy).filter(|&source| source < height) {
            row[to..to + kept].copy_from_slice(&pixels[source * width + from..][..kept]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEIGHT: usize = 5;
    const WIDTH: usize = 7;

    fn picture<const C: usize>() -> Vec<[u8; C]> {
        (0..HEIGHT * WIDTH).map(|i| std::array::from_fn(|c| (i * 53 + c * 19 + 11) as u8)).collect()
    }

    #[test]
    fn maps_go_where_they_should() {
        let pixels = picture::<1>();
        let warped = |map: Map| {
            let mut out = vec![[0]; HEIGHT * WIDTH];
            map.warp(&pixels, HEIGHT, WIDTH, (0, 0), &mut out);
            out
        };
        let at = |pixels: &[[u8; 1]], y: usize, x: usize| pixels[y * WIDTH + x][0];
        let half_turn = warped(Map::new(HEIGHT, WIDTH, std::f64::consts::PI, (0.0, 0.0), 1.0, 0.0));
        assert!(half_turn.iter().eq(pixels.iter().rev()));
        let moved = warped(Map::new(HEIGHT, WIDTH, 0.0, (2.0, -1.0), 1.0, 0.0));
        assert_eq!((at(&moved, 1, 3), at(&moved, 1, 1)), (at(&pixels, 2, 1), 0));
        // A quarter turn clockwise about (row 2, column 3): what was above is now on the right.
        let quarter = warped(Map::new(HEIGHT, WIDTH, std::f64::consts::FRAC_PI_2, (0.0, 0.0), 1.0, 0.0));
        assert_eq!((at(&quarter, 2, 5), at(&quarter, 4, 3)), (at(&pixels, 0, 3), at(&pixels, 2, 5)));
        let doubled = warped(Map::new(HEIGHT, WIDTH, 0.0, (0.0, 0.0), 2.0, 0.0));
        assert_eq!((at(&doubled, 2, 5), at(&doubled, 0, 3)), (at(&pixels, 2, 4), at(&pixels, 1, 3)));
        // At 45 degrees a pixel moves right by as much as it stands above the centre.
        let sheared = warped(Map::new(HEIGHT, WIDTH, 0.0, (0.0, 0.0), 1.0, std::f64::consts::FRAC_PI_4));
        assert_eq!((at(&sheared, 3, 4), at(&sheared, 2, 4)), (at(&pixels, 3, 3), at(&pixels, 2, 4)));
    }

    #[test]
    fn shifting_fills_with_black() {
        let pixels = picture::<3>();
        let mut out = vec![[1; 3]; pixels.len()];
        for (dy, dx) in [(0, 0), (1, -2), (-3, 6), (4, 0), (0, 7)] {
            shifted(&pixels, WIDTH, (dy, dx), &mut out);
            for (y, x) in (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| (y, x))) {
                let source = (y.checked_add_signed(dy), x.checked_add_signed(dx));
                let expected = match source {
                    (Some(y), Some(x)) if y < HEIGHT && x < WIDTH => pixels[y * WIDTH + x],
                    _ => [0; 3],
                };
                assert_eq!(out[y * WIDTH + x], expected, "({y}, {x}) of ({dy}, {dx})");
            }
        }
    }
}
