use svertka::kernels::geometry::Window;
use svertka::ops::Unshared;
use svertka::{ConvSpec, Network};

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let window = Window { kernel: [1, 3, 2], ..Window::default() };
    let unshared = |groups| Unshared { window, groups };
    let (x, weight): (&[usize], &[usize]) = (&[2, 3, 5, 4], &[3, 3, 4, 3, 3, 2]);
    vec![
        case(
            unshared(1),
            [&[2], weight],
            "Unshared: input: expected N x C x spatial with 1 to 3 spatial axes, received shape [2]",
        ),
        case(
            unshared(1),
            [x, &[4, 3, 3, 2]],
            "Unshared: weight: expected shape [3, 3, 3, 3, 3, 2], received shape [4, 3, 3, 2]",
        ),
        case(
            unshared(1),
            [x, &[3, 4, 4, 3, 3, 2]],
            "Unshared: weight: expected shape [3, 3, 4, 3, 3, 2], received shape [3, 4, 4, 3, 3, 2]",
        ),
        case(unshared(1), [x, weight, &[4]], "Unshared: bias: expected shape [4, 3, 3], received shape [4]"),
        case(
            unshared(2),
            [x, weight],
            "Unshared: in_channels: expected a multiple of groups = 2, received 3",
        ),
        case(
            unshared(0),
            [x, weight],
            "Unshared: groups: expected at least 1 along every axis, received [0]",
        ),
        case(
            unshared(1),
            [&[2, 3, 2, 4], weight],
            "Unshared: kernel_size: expected at most the padded input 2 along the height, received a window of 3 (kernel_size 3, dilation 1)",
        ),
        case(
            Unshared { window: Window::default(), groups: 1 },
            [&[1, 1024, 8192, 1024], &[8192, 1024, 1024, 1024, 1, 1]],
            "Unshared: weight: expected a size below 2^40 elements, received 8796093022208",
        ),
    ]
}

#[test]
fn the_builder_names_the_layer() {
    let mut network = Network::new(&[4, 5, 4], 0);
    let x = network.input();
    let mut error = |out_channels, kernel_size: usize, spec| {
        network.unshared(x, out_channels, kernel_size, &spec).unwrap_err()
    };
    assert_eq!(
        error(7, 3, ConvSpec::new().groups(2)).to_string(),
        "unshared1: Unshared: out_channels: expected a multiple of groups = 2, received 7"
    );
    assert_eq!(
        error(8, 3, ConvSpec::new().stride([1, 1, 1])).to_string(),
        "Unshared: stride: expected one size or 2, received [1, 1, 1]"
    );
    assert_eq!(
        error(1 << 28, 1, ConvSpec::new()).to_string(),
        "unshared2.weight: shape: expected at most 1073741824 numbers, received [5, 4, 268435456, 4, 1, 1]"
    );
}
