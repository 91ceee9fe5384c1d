"""Writes what PyTorch computes, in double precision, for every kind of operator that it has: outputs and all gradients.

    python torch_cases.py    # torch and torchvision; writes torch.json and torch.npy beside itself

`torch.json` lists the cases: a kind, its arguments by PyTorch's names, how each input is made, the output's shape, and the inputs that have a gradient.
`torch.npy` holds all numbers in one row, case by case: inputs that are results themselves (`stored`), then the gradients of `sum(y * dy)`, then `y`.
The other inputs and `dy` are made by `numbers` on both sides.
"""
import itertools
import json
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
import torchvision

HERE = pathlib.Path(__file__).parent
CASES, NUMBERS = [], []


def numbers(shape, salt, low=-1.0, high=1.0):
    """All different up to 10,007 elements, scrambled, between `low` and `high`."""
    i = np.arange(int(np.prod(shape)), dtype=np.int64)
    unit = ((i * 7919 + salt * 104729 + 17) % 10007) / 10006
    return (low + (high - low) * unit).astype(np.float32).reshape(shape)


def labels(shape, salt, below):
    i = np.arange(int(np.prod(shape)), dtype=np.int64)
    return ((i * 7919 + salt) % below).reshape(shape)


def spec(shape, low=-1.0, high=1.0):
    return {"shape": list(shape), "low": low, "high": high}


def case(kind, function, args, inputs):
    """One case; `inputs` are specs, `{"labels": below}` among them, or tensors of indices."""
    tensors, listed = [], []
    for salt, given in enumerate(inputs):
        if isinstance(given, torch.Tensor):
            tensors.append(given)
            NUMBERS.append(given.numpy())
            listed.append({"shape": list(given.shape), "stored": True})
        elif "labels" in given:
            tensors.append(torch.from_numpy(labels(given["shape"], salt, given["labels"])))
            listed.append(given)
        else:
            data = numbers(given["shape"], salt, given["low"], given["high"]).astype(np.float64)
            tensors.append(torch.from_numpy(data).requires_grad_())
            listed.append(given)
    y = function(*tensors)
    floats = [i for i, t in enumerate(tensors) if t.requires_grad]
    dy = torch.from_numpy(numbers(y.shape, 99).astype(np.float64))
    gradients = torch.autograd.grad(y, [tensors[i] for i in floats], dy, allow_unused=True)
    known = [(i, gradient) for i, gradient in zip(floats, gradients) if gradient is not None]
    NUMBERS.extend([*(gradient.numpy() for _, gradient in known), y.detach().numpy()])
    CASES.append({"kind": kind, "args": args, "inputs": listed, "gradients": [i for i, _ in known], "y": list(y.shape)})


CONV = [None, F.conv1d, F.conv2d, F.conv3d]
SPATIAL = {1: (11,), 2: (7, 6), 3: (5, 4, 6)}


def convolutions():
    def conv(batch, channels, out, kernel, groups=1, stride=1, padding=0, dilation=1, mode="zeros", bias=True, spatial=None):
        dims = len(kernel)
        every = lambda value: [value] * dims if isinstance(value, int) else list(value)
        stride, dilation = every(stride), every(dilation)
        padding = padding if padding == "same" else every(padding)
        args = {"kernel": list(kernel), "groups": groups, "stride": stride, "padding": padding, "dilation": dilation, "mode": mode}
        # As torch.nn.ConvNd does it.
        if padding == "same":
            total = [d * (k - 1) for d, k in zip(dilation, kernel)]
            sides = [(t // 2, t - t // 2) for t in total]
        else:
            sides = [(p, p) for p in padding]
        flat = [p for side in reversed(sides) for p in side]

        def run(x, weight, bias=None):
            x = F.pad(x, flat) if mode == "zeros" else F.pad(x, flat, mode=mode)
            return CONV[dims](x, weight, bias, stride, 0, dilation, groups)

        shapes = [(batch, channels, *(spatial or SPATIAL[dims])), (out, channels // groups, *kernel)]
        case("conv", run, args, [spec(s) for s in shapes] + ([spec((out,))] if bias else []))

    for kernel in [(1,), (3,), (4,), (1, 1), (3, 2), (2, 3), (1, 1, 1), (2, 3, 2), (3, 1, 2)]:
        for stride, dilation in [(1, 1), (2, 1), (1, 2), (3, 1)]:
            if all(d * (k - 1) < s for d, k, s in zip([dilation] * 3, kernel, SPATIAL[len(kernel)])):
                conv(2, 3, 5, kernel, stride=stride, dilation=dilation)
        for mode in ("zeros", "reflect", "replicate", "circular"):
            conv(1, 2, 9, kernel, padding=1, mode=mode, bias=mode == "zeros")
            conv(2, 9, 2, kernel, padding=[(i + 1) % 3 for i in range(len(kernel))], mode=mode, stride=2)
        conv(1, 4, 4, kernel, padding="same", dilation=2)
        conv(1, 3, 4, kernel, padding="same", mode="circular")
        conv(2, 4, 6, kernel, groups=2, padding=1)
        conv(2, 5, 5, kernel, groups=5, padding=1, stride=2)
        conv(1, 3, 9, kernel, groups=3, bias=False)
    conv(1, 3, 3, (3, 3), spatial=(3, 3))
    conv(1, 1, 1, (5, 5), padding=2, spatial=(1, 1))
    conv(2, 17, 19, (3, 3), padding=1, spatial=(4, 5))
    conv(1, 32, 16, (1, 1), spatial=(3, 5))
    conv(1, 16, 32, (3, 3), groups=4, padding=1, spatial=(5, 4))
    conv(1, 16, 16, (3, 3), groups=16, padding=1, spatial=(5, 6))
    conv(1, 12, 24, (3, 3), groups=12, padding=1, spatial=(5, 6))


def transposed():
    run_of = [None, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d]
    for dims, kernel in [(1, (3,)), (1, (4,)), (2, (3, 2)), (2, (4, 4)), (3, (2, 3, 2))]:
        spatial = {1: (6,), 2: (4, 3), 3: (2, 3, 2)}[dims]
        for stride, padding, extra, dilation, groups in [(1, 0, 0, 1, 1), (2, 0, 0, 1, 1), (2, 1, 1, 1, 1), (1, 1, 0, 2, 1), (3, 0, 2, 1, 2), (2, 1, 0, 1, 4), (1, 0, 0, 1, 4), (2, 1, 1, 2, 2), (4, 0, 3, 1, 1)]:
            args = {"kernel": list(kernel), "stride": stride, "padding": padding, "output_padding": extra, "dilation": dilation, "groups": groups}
            bias = stride != 1
            inputs = [spec((2, 4, *spatial)), spec((4, 6 // groups if groups != 4 else 2, *kernel))]
            out = inputs[1]["shape"][1] * groups
            function = lambda x, w, b=None: run_of[dims](x, w, b, stride, padding, extra, groups, dilation)
            case("conv_transpose", function, args, inputs + ([spec((out,))] if bias else []))


def deformable():
    for stride, padding, dilation, groups, offset_groups, mask, bias in [(1, 0, 1, 1, 1, False, False), (1, 1, 1, 1, 1, True, True), (2, 1, 1, 1, 2, True, False), (1, 2, 2, 2, 1, False, True), (2, 0, 1, 4, 4, True, True), (1, 1, 1, 2, 2, True, True)]:
        x, out, kernel = (2, 4, 6, 5), 8, (3, 2)
        size = [(i + 2 * padding - dilation * (k - 1) - 1) // stride + 1 for i, k in zip(x[2:], kernel)]
        inputs = [spec(x), spec((out, 4 // groups, *kernel)), spec((2, 2 * offset_groups * 6, *size), -1.3, 1.7)]
        inputs += [spec((out,))] if bias else []
        inputs += [spec((2, offset_groups * 6, *size), 0.0, 1.0)] if mask else []

        def run(x, weight, offset, *rest):
            rest = list(rest)
            b = rest.pop(0) if bias else None
            m = rest.pop(0) if mask else None
            return torchvision.ops.deform_conv2d(x, offset, weight, b, stride, padding, dilation, m)

        case("deform_conv", run, {"kernel": list(kernel), "stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "offset_groups": offset_groups, "bias": bias, "mask": mask}, inputs)


def pooling():
    for dims, shape in [(1, (2, 3, 11)), (2, (2, 9, 7, 6)), (3, (1, 3, 5, 4, 6))]:
        named = lambda name: getattr(F, f"{name}{dims}d")
        for kernel, stride, padding, dilation, ceil in [(2, 2, 0, 1, False), (3, 2, 1, 1, False), (3, 1, 1, 1, True), (2, 3, 1, 1, True), (2, 1, 0, 2, False), (3, 2, 1, 1, True), (2, 2, 0, 2, True), (1, 2, 0, 1, False)]:
            args = {"dims": dims, "kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation, "ceil": ceil}
            run = lambda x: named("max_pool")(x, kernel, stride, padding, dilation, ceil)
            case("max_pool", run, args, [spec(shape)])
            if dilation == 1:
                for include in (False, True):
                    run = lambda x: named("avg_pool")(x, kernel, stride, padding, ceil, include)
                    case("avg_pool", run, {**args, "include": include}, [spec(shape)])
        if dims > 1:
            run = lambda x: named("avg_pool")(x, 2, 2, 0, False, True, 3)
            case("avg_pool", run, {"dims": dims, "kernel": 2, "stride": 2, "padding": 0, "ceil": False, "include": True, "divisor": 3}, [spec(shape)])
        for p, kernel, stride, ceil in [(1, 2, 2, False), (2, 3, 2, False), (3, 2, 1, False), (2, 3, 2, True), (1.5, 2, 2, False)]:
            # PyTorch takes powers of the values, not of their sizes: the same where they are positive.
            run = lambda x: named("lp_pool")(x, p, kernel, stride, ceil)
            if not ceil:
                case("lp_pool", run, {"dims": dims, "p": p, "kernel": kernel, "stride": stride}, [spec(shape, 0.1, 2.0)])
        for output in [[1] * dims, [3] * dims, [2, 4, 5][:dims], list(shape[2:])]:
            case("adaptive_avg_pool", lambda x: named("adaptive_avg_pool")(x, output), {"output": output}, [spec(shape)])
            case("adaptive_max_pool", lambda x: named("adaptive_max_pool")(x, output), {"output": output}, [spec(shape)])
        for kernel, stride, padding in [(2, 2, 0), (3, 2, 1)]:
            source = torch.from_numpy(numbers(shape, 5).astype(np.float64))
            pooled, indices = named("max_pool")(source, kernel, stride, padding, return_indices=True)
            run = lambda x, i: named("max_unpool")(x, i, kernel, stride, padding, output_size=shape)
            # ONNX counts over the whole tensor, PyTorch over each plane: the file has PyTorch's.
            case("max_unpool", run, {"dims": dims, "kernel": kernel, "stride": stride, "padding": padding, "output": list(shape)}, [spec(pooled.shape), indices])
        if dims > 1:
            for output in ([2] * dims, [3, 2, 4][:dims]):
                # What is fixed in inference here; in training they are drawn.
                samples = torch.full((shape[0], shape[1], dims), 0.5, dtype=torch.float64)
                run = lambda x: named("fractional_max_pool")(x, 2, output_size=output, _random_samples=samples)
                case("fractional_max_pool", run, {"kernel": 2, "output": output}, [spec(shape)])


def norms():
    # No line of two: whatever the numbers, its gradient is next to nothing.
    for shape in [(4, 9, 5), (3, 4, 5, 6), (2, 3, 4, 2, 3)]:
        channels = shape[1]
        affine = [spec((channels,)), spec((channels,))]
        mean, var = numbers((channels,), 11), numbers((channels,), 12, 0.5, 2.0)
        for training in (False, True):
            run = lambda x, w, b: F.batch_norm(x, torch.from_numpy(mean).double(), torch.from_numpy(var).double(), w, b, training, 0.1, 1e-5)
            case("batch_norm", run, {"training": training}, [spec(shape), *affine])
        case("instance_norm", lambda x, w, b: F.instance_norm(x, weight=w, bias=b), {}, [spec(shape), *affine])
        case("instance_norm", lambda x: F.instance_norm(x), {}, [spec(shape, 1.0, 3.0)])
        for groups in {1, 3 if channels % 3 == 0 else 2, channels}:
            case("group_norm", lambda x, w, b: F.group_norm(x, groups, w, b), {"groups": groups}, [spec(shape), *affine])
        for axes in range(1, len(shape)):
            normalized = shape[-axes:]
            run = lambda x, w, b: F.layer_norm(x, normalized, w, b)
            case("layer_norm", run, {"axes": axes}, [spec(shape), spec(normalized), spec(normalized)])
        # Of an even size the odd channel stands after in ONNX, before in PyTorch.
        for size in (1, 3, 5):
            run = lambda x: F.local_response_norm(x, size, alpha=0.3, beta=0.75, k=1.5)
            case("local_response_norm", run, {"size": size, "alpha": 0.3, "beta": 0.75, "k": 1.5}, [spec(shape)])


def activations():
    x = spec((2, 9, 5), -4.0, 4.0)
    for name, function, args in [
        ("relu", F.relu, {}), ("clip", lambda x: F.hardtanh(x, -1.5, 2.0), {"min": -1.5, "max": 2.0}), ("relu6", F.relu6, {}),
        ("leaky_relu", lambda x: F.leaky_relu(x, 0.2), {"alpha": 0.2}), ("elu", lambda x: F.elu(x, 1.3), {"alpha": 1.3}), ("selu", F.selu, {}),
        ("celu", lambda x: F.celu(x, 0.7), {"alpha": 0.7}), ("sigmoid", torch.sigmoid, {}), ("tanh", torch.tanh, {}), ("silu", F.silu, {}),
        ("hardswish", F.hardswish, {}), ("hardsigmoid", F.hardsigmoid, {}), ("gelu", F.gelu, {}), ("gelu_tanh", lambda x: F.gelu(x, approximate="tanh"), {}),
        ("mish", F.mish, {}), ("softplus", F.softplus, {}), ("softsign", F.softsign, {}), ("threshold", lambda x: F.threshold(x, 0.8, 0.0), {"alpha": 0.8}),
        ("softshrink", lambda x: F.softshrink(x, 0.6), {"lambda": 0.6}), ("hardshrink", lambda x: F.hardshrink(x, 0.6), {"lambda": 0.6}),
    ]:
        case(name, function, args, [x])
    case("prelu", F.prelu, {}, [x, spec((1,))])
    case("prelu", F.prelu, {}, [x, spec((9,))])
    for shape in [(5, 7), (2, 9, 5), (2, 3, 4, 5)]:
        for axis in range(1, len(shape)):
            case("softmax", lambda x: F.softmax(x, axis), {"axis": axis}, [spec(shape, -4.0, 4.0)])
            case("log_softmax", lambda x: F.log_softmax(x, axis), {"axis": axis}, [spec(shape, -4.0, 4.0)])


def losses():
    for shape in [(6, 5), (3, 4, 5), (2, 3, 4, 2)]:
        classes, target = shape[1], {"shape": [shape[0], *shape[2:]], "labels": shape[1]}
        for reduction in ("none", "sum", "mean"):
            for weighted, ignore in [(False, None), (True, None), (False, 1), (True, 0)]:
                weight = numbers((classes,), 13, 0.2, 2.0)
                options = {"reduction": reduction, "weight": torch.from_numpy(weight).double() if weighted else None, "ignore_index": -100 if ignore is None else ignore}
                args = {"reduction": reduction, "ignore": ignore, "weight": weight.tolist() if weighted else None}
                case("cross_entropy", lambda x, t: F.cross_entropy(x, t, **options), args, [spec(shape, -3.0, 3.0), target])
                if weighted:
                    case("nll_loss", lambda x, t: F.nll_loss(x, t, **options), args, [spec(shape, -3.0, 0.0), target])


def resampling():
    for mode, shape, sizes in [
        ("nearest", (2, 3, 7), [(14,), (3,), (10,)]), ("nearest", (1, 9, 5, 4), [(10, 8), (3, 7)]), ("nearest", (1, 2, 3, 4, 2), [(6, 5, 4)]),
        ("nearest-exact", (2, 3, 7), [(14,), (3,), (10,)]), ("nearest-exact", (1, 9, 5, 4), [(3, 7)]),
        ("linear", (2, 3, 7), [(14,), (3,), (10,)]), ("bilinear", (1, 9, 5, 4), [(10, 8), (3, 7), (1, 1)]), ("bicubic", (1, 9, 5, 4), [(10, 8), (3, 7)]),
        ("trilinear", (1, 2, 3, 4, 2), [(6, 5, 4), (2, 2, 5)]),
    ]:
        for size in sizes:
            for align in (False, True) if mode.endswith(("linear", "cubic")) else (None,):
                run = lambda x: F.interpolate(x, size=size, mode=mode, align_corners=align)
                case("interpolate", run, {"mode": mode, "size": list(size), "align": align, "antialias": False}, [spec(shape)])
            if mode in ("bilinear", "bicubic"):
                run = lambda x: F.interpolate(x, size=size, mode=mode, antialias=True)
                case("interpolate", run, {"mode": mode, "size": list(size), "align": False, "antialias": True}, [spec(shape)])
    for x, grid in [((2, 3, 5, 4), (2, 3, 6, 2)), ((1, 2, 3, 4, 3), (1, 2, 3, 2, 3))]:
        for mode, padding, align in itertools.product(("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection"), (False, True)):
            if mode != "bicubic" or len(x) == 4:
                run = lambda x, g: F.grid_sample(x, g, mode, padding, align)
                case("grid_sample", run, {"mode": mode, "padding": padding, "align": align}, [spec(x), spec(grid, -1.4, 1.3)])
    for theta, size in [((2, 2, 3), (2, 3, 4, 5)), ((1, 3, 4), (1, 2, 3, 2, 4))]:
        for align in (False, True):
            case("affine_grid", lambda t: F.affine_grid(t, size, align), {"size": list(size), "align": align}, [spec(theta)])
    case("pixel_shuffle", lambda x: F.pixel_shuffle(x, 2), {"factor": 2}, [spec((2, 8, 3, 4))])
    case("pixel_shuffle", lambda x: F.pixel_shuffle(x, 3), {"factor": 3}, [spec((1, 9, 2, 5))])
    case("pixel_unshuffle", lambda x: F.pixel_unshuffle(x, 2), {"factor": 2}, [spec((2, 3, 4, 6))])
    for kernel, stride, padding, dilation in [((2, 3), 1, 0, 1), ((3, 2), 2, 1, 1), ((2, 2), 1, 1, 2)]:
        args = {"kernel": list(kernel), "stride": stride, "padding": padding, "dilation": dilation}
        case("unfold", lambda x: F.unfold(x, kernel, dilation, padding, stride), args, [spec((2, 3, 6, 5))])
        columns = F.unfold(torch.zeros(2, 3, 6, 5), kernel, dilation, padding, stride).shape
        case("fold", lambda x: F.fold(x, (6, 5), kernel, dilation, padding, stride), {**args, "output": [6, 5]}, [spec(columns)])
    for mode in ("constant", "reflect", "replicate", "circular"):
        for shape, pads in [((2, 3, 7), [(2, 3)]), ((1, 9, 5, 4), [(1, 2), (3, 0)]), ((1, 2, 3, 4, 5), [(1, 2), (2, 1), (0, 3)])]:
            flat = [p for side in reversed(pads) for p in side]
            options = {"value": 1.5} if mode == "constant" else {}
            case("pad", lambda x: F.pad(x, flat, mode, **options), {"mode": mode, "pads": pads, "value": 1.5}, [spec(shape)])


def products():
    case("linear", F.linear, {}, [spec((4, 7)), spec((5, 7)), spec((5,))])
    case("linear", F.linear, {}, [spec((1, 33)), spec((17, 33))])
    for a, b in [((3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)), ((3, 1, 2, 4), (5, 4, 3))]:
        case("matmul", torch.matmul, {}, [spec(a), spec(b)])
    for name in ("add", "sub", "mul", "div", "pow", "maximum", "minimum"):
        for a, b in [((2, 3, 4), (2, 3, 4)), ((2, 3, 4), (3, 1)), ((1, 4), (3, 1))]:
            case(name, getattr(torch, name), {}, [spec(a, 0.5, 2.0), spec(b, 0.4, 1.9)])
    for name in ("sum", "mean", "amax", "amin"):
        for axes in ([1], [0, 2], [2]):
            case(name, lambda x: getattr(torch, name)(x, axes), {"axes": axes}, [spec((3, 4, 5))])
    case("embedding", lambda w, i: F.embedding(i, w), {}, [spec((7, 5)), {"shape": [2, 6], "labels": 7}])


for part in (convolutions, transposed, deformable, pooling, norms, activations, losses, resampling, products):
    part()
(HERE / "torch.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in CASES) + "\n]\n")
np.save(HERE / "torch.npy", np.concatenate([array.reshape(-1) for array in NUMBERS]).astype(np.float32))
print(f"torch {torch.__version__}, torchvision {torchvision.__version__}: {len(CASES)} cases, {len(NUMBERS)} arrays")
