"""What scipy.signal.convolve and correlate answer, for tests/convolve.rs.

Needs NumPy and SciPy; writes scipy_convolve.npz beside itself. Members are called function.extent.number.x, .kernel and .y.
"""

import pathlib

import numpy as np
import scipy
from scipy import signal

SHAPES = [
    # One axis: odd and even kernels, one cell, a kernel as large as the input and larger ones.
    ((9,), (3,)), ((9,), (4,)), ((6,), (2,)), ((7,), (1,)), ((1,), (1,)), ((5,), (5,)), ((3,), (7,)), ((4,), (6,)), ((1,), (4,)),
    # Two axes, neither square.
    ((6, 9), (3, 5)), ((7, 5), (2, 4)), ((5, 8), (3, 2)), ((1, 7), (1, 3)), ((6, 1), (3, 1)), ((4, 5), (4, 5)), ((2, 3), (5, 4)),
    # Three axes.
    ((4, 5, 6), (3, 2, 3)), ((3, 1, 7), (2, 1, 4)), ((2, 4, 5), (2, 3, 1)), ((2, 2, 3), (3, 4, 4)),
    # Each larger along one axis: no 'valid'.
    ((3, 8), (5, 2)), ((2, 6, 3), (3, 1, 3)),
]

random = np.random.default_rng(7)
members = {}
cases = 0
for number, (x_shape, kernel_shape) in enumerate(SHAPES):
    x = random.uniform(-1, 1, x_shape).astype(np.float32)
    kernel = random.uniform(-1, 1, kernel_shape).astype(np.float32)
    for function in (signal.convolve, signal.correlate):
        for extent in ("full", "same", "valid"):
            wide = x.astype(np.float64), kernel.astype(np.float64)
            try:
                y = function(*wide, mode=extent, method="direct")
            except ValueError:
                assert extent == "valid", (extent, x_shape, kernel_shape)
                continue
            # The two methods of SciPy agree on what a case means.
            np.testing.assert_allclose(y, function(*wide, mode=extent, method="fft"), atol=1e-12)
            name = f"{function.__name__}.{extent}.{number}"
            members |= {f"{name}.x": x, f"{name}.kernel": kernel, f"{name}.y": y.astype(np.float32)}
            cases += 1

path = pathlib.Path(__file__).with_suffix(".npz")
np.savez_compressed(path, **members)
print(f"NumPy {np.__version__}, SciPy {scipy.__version__}: {cases} cases, {path.stat().st_size} bytes")
