"""Compares with ONNX Runtime: each operator alone, as the example `write_operators` wrote it, and the binary's probabilities of whole networks
on the same pictures.

    python check.py path/to/svertka folder/of/operators
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from PIL import Image

BOUND = 1e-5

# Of an operator alone: relative to its largest value.
OPERATOR_BOUND = 5e-6

# What ONNX Runtime refuses or computes otherwise: operator, what its message or the node says, and why.
KNOWN = [
    ("LRN", "NumDimensions() == 4", "two spatial axes only"),
    ("LRN", "size_ % 2 == 1", "odd sizes only"),
    ("GridSample", "Only 4-D or 5-D", "two or three spatial axes only"),
    ("GridSample", "Cubic mode in 4-D", "cubic in two spatial axes only"),
    ("MaxUnpool", "smaller than minimum required", "no result smaller than what the indices count"),
    ("MaxUnpool", "y/output_shape", "reads the indices as those of the result; ONNX's own evaluator agrees with us"),
    ("Resize", 'linear", coordinate_transformation_mode: string = "align_corners"', "takes the rounded size for the scale; ONNX's own evaluator agrees with us"),
]

# (name, network, colour).
NETWORKS = [
    ("small", "small", False),
    ("lenet5", "lenet5", False),
    ("resnet18", "resnet18", True),
    ("mobilenet", "mobilenet-v2", True),
    ("paddings", "conv8k5-replicate bn relu pool2 conv8-reflect silu conv8-symmetric gelu conv8k5-circular hardswish gap linear{}", True),
    ("activations", "conv8s2 leakyrelu0.1 dwconv2 relu6 avgpool3s2p1 tanh conv16g4 sigmoid maxpool3s2p1 dropout0.2 gmp linear{}", False),
]


def pictures(folder, colour):
    """Three classes that a network can tell apart: stripes across, stripes down, dots."""
    rng = np.random.default_rng(7)
    rows, columns = np.mgrid[0:32, 0:32]
    for label, pattern in {"across": rows // 3, "down": columns // 3, "dots": rows // 3 + columns // 3}.items():
        (folder / label).mkdir(parents=True)
        for i in range(24):
            grey = np.clip((pattern % 2) * 160 + 40 + rng.normal(0, 30, (32, 32)), 0, 255)
            data = np.stack([np.clip(grey * f, 0, 255) for f in rng.uniform(0.5, 1, 3)], -1) if colour else grey
            Image.fromarray(data.astype(np.uint8)).save(folder / label / f"{i:02}.png")


def tensor(path, how):
    picture = Image.open(path).convert("RGB" if how["channels"] == 3 else "L")
    values = np.asarray(picture, np.float32).reshape(how["height"], how["width"], how["channels"]) / np.float32(255)
    values = (values - np.float32(how["mean"])) / np.float32(how["std"])
    return values.transpose(2, 0, 1)[None].astype(np.float32)


def operators(folder):
    files = sorted(pathlib.Path(folder).glob("*.onnx"))
    failures, own, known = [], 0, 0
    for file in files:
        model = onnx.load(file)
        # What ONNX has no operator for: no other runtime can run it.
        if any(node.domain == "svertka" for node in model.graph.node):
            own += 1
            continue
        onnx.checker.check_model(model, full_check=True)
        with np.load(file.with_suffix(".npz")) as arrays:
            ours = arrays["y"]
            try:
                (theirs,) = onnxruntime.InferenceSession(file).run(None, {"x": arrays["x"]})
                largest = max(np.abs(theirs).max(initial=0), 1e-30)
                difference = np.abs(ours - theirs).max(initial=0) / largest if ours.shape == theirs.shape else np.inf
                failure = None if difference <= OPERATOR_BOUND else f"{difference:.1e}"
            except Exception as error:  # It has a dozen kinds of refusal, without a common base.
                failure = str(error)
        if failure:
            failure = f"{file.stem}: {failure}\n{onnx.printer.to_text(model.graph)[:600]}"
            if any(node.op_type == op and text in failure for op, text, _ in KNOWN for node in model.graph.node):
                known += 1
            else:
                failures.append(failure)
    print("\n".join(failures))
    assert files and not failures, f"{len(failures)} of {len(files)} operators differ"
    passed = len(files) - own - known
    print(f"{passed} passed, 0 failed (operators within {OPERATOR_BOUND} of their largest value; {own} of our own domain, {known} known to differ)")


def main(binary, folder):
    operators(folder)
    worst, compared = 0.0, 0
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        data = {colour: root / ("colour" if colour else "grey") for colour in (False, True)}
        for colour, folder in data.items():
            pictures(folder, colour)
        for name, network, colour in NETWORKS:
            out = root / name
            train = [binary, "train", data[colour], "--net", network.format(3), "--epochs", "2", "--batch", "16"]
            subprocess.run([*train, "--out", out, "--json"], check=True, stdout=subprocess.DEVNULL)
            model = onnx.load(out / "model.onnx")
            onnx.checker.check_model(model, full_check=True)
            metadata = {entry.key: entry.value for entry in model.metadata_props}
            labels, how = json.loads(metadata["labels"]), json.loads(metadata["preprocessing"])
            session = onnxruntime.InferenceSession(out / "model.onnx")
            predict = [binary, "predict", out / "model.onnx", data[colour], "--json", "--top", "3"]
            answers = json.loads(subprocess.run(predict, check=True, capture_output=True, text=True).stdout)
            assert len(answers) == 72, len(answers)
            difference = 0.0
            for answer in answers:
                (theirs,) = session.run(None, {session.get_inputs()[0].name: tensor(answer["path"], how)})
                assert abs(theirs.sum() - 1) < 1e-4, "the file's output is no row of probabilities"
                for entry in answer["labels"]:
                    assert labels[entry["index"]] == entry["label"]
                    difference = max(difference, abs(float(theirs[0, entry["index"]]) - entry["probability"]))
                    compared += 1
            print(f"{name:12} {len(model.graph.node):4} nodes, largest difference {difference:.1e}")
            worst = max(worst, difference)
    assert worst <= BOUND, f"largest difference {worst}, allowed {BOUND}"
    print(f"{len(NETWORKS)} passed, 0 failed ({compared} probabilities within {BOUND})")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
