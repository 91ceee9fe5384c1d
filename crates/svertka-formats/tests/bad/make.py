"""Writes the files of this folder, which must all be refused.

The ending of a file says which reader gets it. Beside it stands NAME.txt with the message that it must cause
under the limits of `tests/hostile.rs`, checked by eye, not written by this script. Needs Python only.
"""

import gzip
import io
import json
import pathlib
import struct
import zipfile
import zlib

HERE = pathlib.Path(__file__).parent


def write(name, data):
    (HERE / name).write_bytes(data)


def idx(kind, extents, data):
    return bytes([0, 0, kind, len(extents)]) + b"".join(struct.pack(">I", extent) for extent in extents) + data


def npy(header, data=b""):
    header = header.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def array(shape, data, descr="|u1", fortran=False):
    return npy(f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n", data)


def npz(*members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def png(width, height, rows):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def safetensors(header, data=b""):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + data


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def number(tag, value):
    return varint(tag << 3) + varint(value)


def field(tag, data):
    return varint(tag << 3 | 2) + varint(len(data)) + data


def onnx(*graph_fields):
    return number(1, 8) + field(7, b"".join(graph_fields))


def tensor(*fields):
    return field(5, b"".join(fields) + field(8, b"w"))


# A shape of 2 x 3 for 6 bytes.
write("truncated.idx", idx(8, [2, 3], b"01234"))
write("overlong.idx", idx(8, [2, 3], b"0123456"))
write("no-extents.idx", idx(8, [2, 3], b"")[:9])
write("float.idx", idx(0x0D, [1], bytes(4)))
write("overflow.idx", idx(8, [0xFFFFFFFF] * 3, b""))
write("too-large.idx", idx(8, [1 << 20, 1 << 13], b""))
write("empty.idx", b"")
# 2 MiB of zeros in 2 KB.
write("bomb.idx", gzip.compress(bytes(1 << 21), mtime=0))
write("cut-gzip.idx", gzip.compress(idx(8, [300], bytes(range(150)) * 2), mtime=0)[:100])

write("absurd-shape.npy", array((10**18, 10**18), b""))
write("too-large.npy", array((1 << 40,), b""))
write("negative-shape.npy", array((-1, 4), b"1234"))
write("short-data.npy", array((2, 3), bytes(23), "<f4"))
write("short-header.npy", array((2, 3), b"")[:20])
write("objects.npy", array((1,), b"\x80\x04N.", "|O"))
write("records.npy", npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", bytes(4)))
write("no-shape.npy", npy("{'descr': '<f4', 'fortran_order': False, }"))
write("rank.npy", array((1,) * 65, b"1"))
write("unsigned.npy", array((1,), b"\xff" * 8, "<u8"))
write("text.npy", b"# Arrays\n\nNot one here.\n")

write("bomb.npz", npz(("a.npy", array((1 << 20,), bytes(1 << 20))), ("b.npy", array((1 << 20,), bytes(1 << 20)))))
# The sizes in both headers say 100 bytes; the deflated data goes on for a megabyte.
lying = npz(("a.npy", array((1 << 20,), bytes(1 << 20))))
size = struct.pack("<I", len(array((1 << 20,), bytes(1 << 20))))
write("lying-header.npz", lying.replace(size, struct.pack("<I", 100)))
write("readme.npz", npz(("README.md", b"# Arrays")))
write("inner.npz", npz(("a.npy", array((2, 3), b"12345"))))
write("cut.npz", npz(("a.npy", array((2, 3), b"123456")))[:-8])

write("empty.picture", b"")
write("text.picture", b"This is not a picture.\n")
write("huge.picture", png(0x7FFFFFFF, 0x7FFFFFFF, b""))
write("tall.picture", png(1, 40_000, bytes(80_000)))
write("large.picture", png(30_000, 30_000, b""))
write("cut.picture", png(40, 40, bytes(41 * 40))[:45])
write("tiff.picture", b"II*\0\x08\0\0\0\0\0")

write("empty.onnx", b"")
write("text.onnx", b"# ResNet-50\n\nThe model is at the address below.\n")
write("no-graph.onnx", number(1, 8))
write("no-version.onnx", field(7, field(2, b"net")))
write("cut.onnx", onnx(field(2, b"net"), tensor(number(1, 2), number(2, 1), field(9, bytes(8))))[:-6])
# 2 bytes each: an empty node.
write("many-nodes.onnx", onnx(field(1, b"") * 2000))
write("dims-overflow.onnx", onnx(tensor(field(1, varint(1 << 40) * 2), number(2, 1), field(9, bytes(8)))))
write("dims-negative.onnx", onnx(tensor(field(1, varint((1 << 64) - 1)), number(2, 1))))
write("dims-lie.onnx", onnx(tensor(field(1, varint(1000)), number(2, 1), field(9, bytes(8)))))
location = field(1, b"location") + field(2, b"../../etc/passwd")
write("external.onnx", onnx(tensor(number(1, 2), number(2, 1), field(13, location), number(14, 1))))

entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
write("short-data.safetensors", safetensors({"w": entry}, bytes(7)))
write("no-json.safetensors", safetensors(b"{not json"))
write("long-header.safetensors", struct.pack("<Q", 1 << 60) + b"{}")
# Not the same start: readers that sort by it would name either.
write("overlap.safetensors", safetensors({"w": entry, "v": {**entry, "data_offsets": [4, 12]}}, bytes(12)))
write("float8.safetensors", safetensors({"w": {**entry, "dtype": "F8_E4M3", "shape": [8]}}, bytes(8)))
# Sizes whose sum passes 2^64.
eighth = (1 << 61) - 1
write(
    "overflow.safetensors",
    safetensors({
        str(i): {"dtype": "U8", "shape": [eighth], "data_offsets": [i * eighth, (i + 1) * eighth]} for i in range(8)
    }),
)

write("size.cifar", bytes(3072))
write("label.cifar", bytes(3073) + b"\x0a" + bytes(3072))
write("empty.cifar", b"")
