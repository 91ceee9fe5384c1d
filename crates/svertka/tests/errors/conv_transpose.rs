use svertka::kernels::geometry::Window;
use svertka::ops::ConvTranspose;
use svertka::{ConvTransposeSpec, Network, PaddingMode, Tensor, conv_transpose};

use crate::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let window = Window { kernel: [1, 3, 2], ..Window::default() };
    let conv = |groups| ConvTranspose { window, output_padding: [0; 3], groups };
    let with = |window, output_padding| ConvTranspose { window, output_padding, groups: 1 };
    let (x, weight): (&[usize], &[usize]) = (&[2, 3, 5, 4], &[3, 4, 3, 2]);
    vec![
        case(
            conv(1),
            [&[2, 3], weight],
            "ConvTranspose: input: expected N x C x spatial with 1 to 3 spatial axes, received shape [2, 3]",
        ),
        case(
            conv(1),
            [x, &[2, 4, 3, 2]],
            "ConvTranspose: weight: expected shape [3, 4, 3, 2], received shape [2, 4, 3, 2]",
        ),
        case(conv(1), [x, weight, &[3]], "ConvTranspose: bias: expected shape [4], received shape [3]"),
        case(
            conv(2),
            [x, weight],
            "ConvTranspose: in_channels: expected a multiple of groups = 2, received 3",
        ),
        case(
            conv(0),
            [x, weight],
            "ConvTranspose: groups: expected at least 1 along every axis, received [0]",
        ),
        case(
            conv(1),
            [x, &[3, 0, 3, 2]],
            "ConvTranspose: out_channels: expected at least 1 along every axis, received [0]",
        ),
        case(
            with(Window { dilation: [1, 0, 1], ..window }, [0; 3]),
            [x, weight],
            "ConvTranspose: dilation: expected at least 1 along every axis, received [1, 0, 1]",
        ),
        case(
            with(Window { stride: [1, 2, 1], dilation: [1, 1, 3], ..window }, [0, 1, 3]),
            [x, weight],
            "ConvTranspose: output_padding: expected less than the larger of stride 1 and dilation 3 along the width, received 3",
        ),
        case(
            with(Window { padding: [(0, 0), (4, 3), (0, 0)], ..window }, [0; 3]),
            [x, weight],
            "ConvTranspose: padding: expected less in all than the uncropped output 7 along the height, received (4, 3)",
        ),
        case(
            conv(1),
            [&[2, 3, 0, 4], weight],
            "ConvTranspose: input: expected at least 1 along every axis, received [1, 0, 4]",
        ),
    ]
}

#[test]
fn only_zeros_padding_has_a_meaning() {
    let spec = ConvTransposeSpec::new().padding(1).padding_mode(PaddingMode::Circular);
    let message = "ConvTranspose: padding_mode: expected zeros: the padding of a transposed convolution crops its output, \
                   received Circular";
    let (x, weight) = (Tensor::zeros([1, 3, 5, 4]), Tensor::zeros([3, 2, 3, 2]));
    assert_eq!(conv_transpose(&x, &weight, None, &spec).unwrap_err().to_string(), message);
    let mut network = Network::new(&[3, 5, 4], 0);
    let error = network.conv_transpose(network.input(), 2, [3, 2], &spec).unwrap_err();
    assert_eq!(error.to_string(), message);
}

#[test]
fn the_builder_names_channels_and_sizes() {
    let mut network = Network::new(&[4, 5, 4], 0);
    let x = network.input();
    let mut error =
        |out_channels, spec| network.conv_transpose(x, out_channels, 3, &spec).unwrap_err().to_string();
    assert_eq!(
        error(7, ConvTransposeSpec::new().groups(2)),
        "convtranspose1: ConvTranspose: out_channels: expected a multiple of groups = 2, received 7"
    );
    assert_eq!(
        error(8, ConvTransposeSpec::new().output_padding([1, 0, 0])),
        "ConvTranspose: output_padding: expected one size or 2, received [1, 0, 0]"
    );
}
