"""What numpy.pad answers, for tests/convolve.rs.

Needs NumPy; writes numpy_pad.npz beside itself. Members are called mode.number.x, .pads (before and after, an axis a row) and .y.
"""

import pathlib

import numpy as np

CASES = [
    ((5,), [(2, 2)]),
    ((4,), [(0, 3)]),
    ((6,), [(1, 0)]),
    ((1,), [(1, 1)]),
    ((4, 6), [(1, 3), (2, 0)]),
    ((3, 5), [(0, 0), (4, 1)]),
    ((5, 2), [(3, 2), (1, 1)]),
    ((1, 4), [(0, 1), (2, 3)]),
    ((3, 4, 5), [(1, 2), (3, 0), (2, 4)]),
    ((2, 3, 2), [(1, 0), (0, 2), (1, 1)]),
    ((4, 1, 3), [(0, 3), (0, 0), (1, 2)]),
    # As many cells as there are.
    ((3, 4), [(3, 3), (4, 4)]),
]

members = {}
for number, (shape, pads) in enumerate(CASES):
    x = np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)
    for mode in ("constant", "edge", "reflect", "symmetric", "wrap"):
        # NumPy reflects again and again where the padding is larger; PyTorch and this library refuse that.
        if mode == "reflect" and any(max(pad) >= size for pad, size in zip(pads, shape)):
            continue
        options = {"constant_values": -1.5} if mode == "constant" else {}
        name = f"{mode}.{number}"
        y = np.pad(x, pads, mode=mode, **options)
        members |= {f"{name}.x": x, f"{name}.pads": np.array(pads, dtype=np.float32), f"{name}.y": y}

path = pathlib.Path(__file__).with_suffix(".npz")
np.savez_compressed(path, **members)
print(f"NumPy {np.__version__}: {len(members) // 3} cases, {path.stat().st_size} bytes")
