"""Writes the ONNX project's own tests as files, without the network: the node tests that concern convolutional networks, and the models converted from PyTorch.

    python onnx_tests.py FOLDER

A case is a folder with `model.onnx`, `input_0.pb`, ... and `output_0.pb`, ...; cases stand in one folder for each group:

    spatial      node tests of spatial and normalizing operators
    network      node tests of what else stands in such networks: layers, losses, optimizers
    activation   node tests of further activations and norms
    pytorch      `pytorch-converted` and `pytorch-operator`
"""
import pathlib
import shutil
import sys

import onnx
from onnx import numpy_helper
from onnx.backend.test import loader

# Relative and absolute, of every case; the program that runs them has it too.
TOLERANCE = (1e-3, 1e-7)

GROUPS = {
    "spatial": """Conv ConvTranspose ConvInteger QLinearConv DeformConv MaxPool AveragePool LpPool GlobalAveragePool GlobalMaxPool GlobalLpPool MaxUnpool RoiAlign
        MaxRoiPool Col2Im Pad BatchNormalization InstanceNormalization GroupNormalization LRN Resize Upsample GridSample DepthToSpace""",
    "network": """Gemm MatMul Softmax LogSoftmax Clip Dropout Flatten LayerNormalization SoftmaxCrossEntropyLoss NegativeLogLikelihoodLoss Adam Adagrad
        Momentum""",
    "activation": """Relu LeakyRelu PRelu Elu Selu Celu Sigmoid HardSigmoid HardSwish Gelu Mish Softplus Softsign Tanh ThresholdedRelu Swish Hardmax SpaceToDepth
        MeanVarianceNormalization RMSNormalization LpNormalization CenterCropPad AffineGrid Shrink""",
}


def write(folder, case):
    folder.mkdir(parents=True)
    onnx.save(case.model, folder / "model.onnx")
    assert (case.rtol, case.atol) == TOLERANCE
    # The first data set; no case of these has another.
    inputs, outputs = case.data_sets[0]
    names = {"input": case.model.graph.input, "output": case.model.graph.output}
    for kind, values in {"input": inputs, "output": outputs}.items():
        for i, (value, info) in enumerate(zip(values, names[kind])):
            tensor = value if isinstance(value, onnx.TensorProto) else numpy_helper.from_array(value, info.name)
            (folder / f"{kind}_{i}.pb").write_bytes(tensor.SerializeToString())


def main(out):
    groups = {group: set(names.split()) for group, names in GROUPS.items()}
    counts = dict.fromkeys([*groups, "pytorch"], 0)
    for case in loader.load_model_tests(kind="node"):
        if "_expanded" in case.name:
            continue
        operators = {node.op_type for node in case.model.graph.node}
        group = next((group for group, names in groups.items() if operators & names), None)
        if group:
            write(out / group / case.name, case)
            counts[group] += 1
    data = pathlib.Path(loader.__file__).parent.parent / "data"
    for kind in ("pytorch-converted", "pytorch-operator"):
        for source in sorted((data / kind).iterdir()):
            folder = out / "pytorch" / source.name
            shutil.copytree(source / "test_data_set_0", folder)
            shutil.copy(source / "model.onnx", folder)
            counts["pytorch"] += 1
    print(counts)


main(pathlib.Path(sys.argv[1]))
