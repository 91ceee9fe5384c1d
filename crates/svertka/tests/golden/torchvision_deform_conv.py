"""What torchvision.ops.deform_conv2d and its gradients answer, for tests/deform_conv.rs.

Needs PyTorch, torchvision and NumPy; writes torchvision_deform_conv.npz beside itself. Members are called number.name; number.sizes holds stride,
padding and dilation (height, width), groups and groups of offsets.
"""

import pathlib

import numpy as np
import torch
import torchvision

CASES = [
    # x, weight, stride, padding, dilation, groups of offsets, bias, mask
    ((2, 3, 7, 6), (5, 3, 3, 2), (1, 1), (1, 0), (1, 1), 1, True, True),
    ((2, 4, 9, 8), (6, 2, 2, 3), (2, 3), (1, 2), (2, 1), 2, True, False),
    ((1, 18, 6, 7), (10, 9, 3, 3), (1, 2), (1, 1), (1, 1), 3, False, True),
    ((2, 9, 5, 4), (9, 1, 3, 3), (1, 1), (1, 1), (1, 1), 9, False, False),
    ((1, 16, 12, 11), (12, 16, 3, 3), (1, 1), (1, 1), (1, 1), 1, True, True),
]

torch.manual_seed(5)
members = {}
for number, (x_shape, weight_shape, stride, padding, dilation, offset_groups, bias, mask) in enumerate(CASES):
    kernel = weight_shape[2:]
    output = [
        (size + 2 * p - d * (k - 1) - 1) // s + 1 for size, p, d, k, s in zip(x_shape[2:], padding, dilation, kernel, stride)
    ]
    moved = offset_groups * kernel[0] * kernel[1]
    inputs = {
        "x": torch.randn(x_shape),
        "weight": torch.randn(weight_shape),
        "offset": 1.5 * torch.randn(x_shape[0], 2 * moved, *output),
        "bias": torch.randn(weight_shape[0]) if bias else None,
        "mask": torch.rand(x_shape[0], moved, *output) if mask else None,
    }
    inputs = {name: value.requires_grad_() for name, value in inputs.items() if value is not None}
    y = torchvision.ops.deform_conv2d(
        inputs["x"],
        inputs["offset"],
        inputs["weight"],
        inputs.get("bias"),
        stride=stride,
        padding=padding,
        dilation=dilation,
        mask=inputs.get("mask"),
    )
    dy = torch.randn(y.shape)
    y.backward(dy)
    groups = x_shape[1] // weight_shape[1]
    sizes = np.array([*stride, *padding, *dilation, groups, offset_groups], dtype=np.float32)
    arrays = {"y": y, "dy": dy} | inputs | {f"d_{name}": value.grad for name, value in inputs.items()}
    members |= {f"{number}.sizes": sizes} | {f"{number}.{name}": value.detach().numpy() for name, value in arrays.items()}

path = pathlib.Path(__file__).with_suffix(".npz")
np.savez_compressed(path, **members)
print(f"PyTorch {torch.__version__}, torchvision {torchvision.__version__}: {len(CASES)} cases, {path.stat().st_size} bytes")
