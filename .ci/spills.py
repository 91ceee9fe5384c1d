"""Fails where the hot tile keeps a vector on the stack.

The tile of six rows by sixteen, on AVX-512 of up to twelve by 32 (kernels/src/conv/tile.rs), lives in registers to the last one; one more live vector, and each step of the loop stores and
reloads it. No test of results sees that. So this reads the disassembly of a linked release program, as it is shipped: in every instruction set's instance
of the convolutions that run the tile, it looks for the products of six rows and checks the loop around them. A seventh row makes it fail on AVX2 and NEON.

Usage: spills.py OBJDUMP PROGRAM. The program has its symbols, mangled as v0, which name the kernel that an instance is of.
"""

import re
import subprocess
import sys

# Work of a blocked activation, of squares and of phases, and of weight gradients, whose loop runs over cells and is not unrolled; with `true`, plain pictures
# are read by another loop. Patterns of their names, and whether blocks are unrolled:
KERNELS = {
    "conv::direct_tiles::Run<false, .*>": True,
    "conv::winograd_stages::TilesBySize<.*>": True,
    "conv::phases::Products": True,
    "conv::weight_gradient::Add": False,
}

# For each architecture: a fused multiply-add, a vector register, an access to the stack, the frame pointer's setup and an access through it, and a jump.
# For each instruction set: multiply-adds in a row, which are six rows of sixteen by the lanes of a register, and how many times that where blocks are
# unrolled. The largest tile of AVX-512 is not unrolled: its 24 are twelve rows of twice sixteen.
X86 = {
    "product": r"vfn?madd\w+ps\b",
    "vector": r"%[xyz]mm",
    "stack": r"\(%rsp[,)]",
    "frame": (r"mov\s+%rsp,%rbp\b", r"\(%rbp[,)]"),
    "jump": r"j\w+\s+([0-9a-f]+)",
    "in_a_row": {"avx2": (12, 8), "avx512": (6, 4)},
}
ARM = {
    "product": r"fmla\s+v\d+\.4s",
    "vector": r"\b[vqds]\d+\b",
    "stack": r"\[sp\b",
    "frame": (r"(mov|add)\s+x29, sp\b", r"\[x29\b"),
    "jump": r"(?:b|b\.\w+|cbn?z\s+\w+,|tbn?z\s+\w+, #\w+,)\s+([0-9a-f]+)",
    "in_a_row": {"neon": (24, 1)},
}


def functions(objdump, program):
    """Name and instructions (address, text) of each function."""
    text = subprocess.run(
        [objdump, "-d", "-C", "--no-show-raw-insn", program], check=True, capture_output=True, text=True
    ).stdout
    architecture = ARM if re.search(r"file format \S*aarch64", text) else X86
    found = []
    for line in text.splitlines():
        if head := re.fullmatch(r"[0-9a-f]+ <(.*)>:", line):
            found.append((head[1], []))
        elif body := re.match(r"\s*([0-9a-f]+):\t(.*)", line):
            found[-1][1].append((int(body[1], 16), body[2].split("\t#")[0].strip()))
    return architecture, found


def jumps(architecture, code):
    """Jumps that stay in the function: where they stand and where they lead, as indices."""
    index = {address: i for i, (address, _) in enumerate(code)}
    for i, (_, text) in enumerate(code):
        if (jump := re.match(architecture["jump"] + r"\b", text)) and int(jump[1], 16) in index:
            yield i, index[int(jump[1], 16)]


def hot_loops(architecture, code, products):
    """The smallest loop around each straight run of at least so many multiply-adds, as a range of indices."""
    found = list(jumps(architecture, code))
    cuts = sorted({0, len(code)} | {i + 1 for i, _ in found} | {to for _, to in found})
    for start, end in zip(cuts, cuts[1:]):
        if sum(bool(re.match(architecture["product"], text)) for _, text in code[start:end]) >= products:
            around = [range(to, i + 1) for i, to in found if to <= start and end <= i + 1]
            if around:
                yield min(around, key=len)


def spills(architecture, code, loop):
    """Instructions of the loop that move a vector from or to the stack."""
    stack = [architecture["stack"]]
    setup, frame = architecture["frame"]
    if any(re.match(setup, text) for _, text in code):
        stack.append(frame)
    return [
        code[i][1]
        for i in loop
        if re.search(architecture["vector"], code[i][1]) and any(re.search(place, code[i][1]) for place in stack)
    ]


def main():
    architecture, found = functions(*sys.argv[1:])
    failed = False
    for isa, (products_of_step, steps) in architecture["in_a_row"].items():
        for kernel, unrolled in KERNELS.items():
            products = products_of_step * (steps if unrolled else 1)
            name = re.compile(rf"<svertka_kernels::simd::{isa}::\w+>::run::inner::<svertka_kernels::{kernel}>")
            loops = [
                (code, loop)
                for symbol, code in found
                if name.fullmatch(symbol)
                for loop in hot_loops(architecture, code, products)
            ]
            if not loops:
                print(f"{isa} {kernel}: expected a loop with {products} multiply-adds in a row, found none")
                failed = True
            for code, loop in loops:
                moves = spills(architecture, code, loop)
                print(f"{isa} {kernel}: of {len(loop)} instructions of a hot loop, {len(moves)} move a vector from or to the stack")
                print("".join(f"  {move}\n" for move in moves), end="")
                failed |= bool(moves)
    sys.exit(failed)


main()
