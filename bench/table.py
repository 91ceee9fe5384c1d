#!/usr/bin/env python3
"""JSON lines of measurements in, one Markdown table of ratios out: how much longer than ours the best of the others takes.

    table.py [--ours NAME] FILE...

A line is one case of one library: `what` (layers or nets), `mode` (fwd or train), `case`, `n` (pictures in the batch), `threads`, `peer`, and either
`error` or `med` and `best` (milliseconds of the median and the fastest run) with `cal_med` (GFLOP/s of a register loop just before, which tells what
the machine gave at that moment). A case may have been measured several times: the middle one of its medians counts.
"""
import argparse
import json
import math
import re
import statistics
import sys

# A measurement during which the machine gave less than this of its best says little: it counts only where there is no other, and is marked.
QUIET = 0.7

FIRST, PLAIN, OTHER = "first layer", "3x3 s1, >= 64 channels, maps >= 14", "1x1, strided, dilated, 5x5, 512@7x7"
KINDS = [("dw", "depthwise"), ("grp", "grouped"), ("tr", "transposed"), ("conv1d", "1-D"), ("conv3d", "3-D")]
CLASSES = [PLAIN, OTHER, FIRST] + [kind for _, kind in KINDS]


def class_of(case):
    """The class of a layer by its name, which ends in kernel, stride, channels in and out, and side.

    >>> class_of("r50_3x3_64_64_56") == PLAIN, class_of("r50_3x3_512_512_7") == OTHER, class_of("dw3x3_144_56")
    (True, True, 'depthwise')
    """
    for prefix, kind in KINDS:
        if case.startswith(prefix):
            return kind
    shape = re.search(r"_(\d+)x\d+(s\d+)?_(\d+)_(\d+)_(\d+)$", case)
    if not shape:
        return OTHER
    kernel, c_in, c_out, side = (int(shape[i]) for i in (1, 3, 4, 5))
    if c_in < 8:
        return FIRST
    plain = kernel == 3 and not shape[2] and not case.startswith("dil") and min(c_in, c_out) >= 64 and side >= 14
    return PLAIN if plain else OTHER


def read(lines):
    """-> ({(what, case): {setting: {peer: (milliseconds, doubtful)}}}, errors), setting = (mode, batch, threads)"""
    records = [json.loads(line) for line in lines if line.strip()]
    measured = [r for r in records if "error" not in r]
    best = {}
    for r in measured:
        best[r["threads"]] = max(best.get(r["threads"], 0), r["cal_med"])
    runs = {}
    for r in measured:
        key = (r["what"], r["case"]), (r["mode"], r["n"], r["threads"]), r["peer"]
        runs.setdefault(key, []).append((r["med"], r["cal_med"] < QUIET * best[r["threads"]]))
    cases = {}
    for (case, setting, peer), seen in runs.items():
        quiet = [ms for ms, doubtful in seen if not doubtful]
        times = quiet or [ms for ms, _ in seen]
        cases.setdefault(case, {}).setdefault(setting, {})[peer] = statistics.median(times), not quiet
    tell = "{what} {case}, {mode}, batch {n}, {threads} threads: {peer}: {error}".format_map
    return cases, [tell(r) for r in records if "error" in r]


def is_ours(peer):
    return peer.startswith("svertka")


def ratio(times, ours):
    """(best other's time over ours, cell of the table), or None where one of them is missing."""
    others = {peer: time for peer, time in times.items() if not is_ours(peer)}
    if ours not in times or not others:
        return None
    peer = min(others, key=lambda p: others[p][0])
    (theirs, doubt), (own, own_doubt) = others[peer], times[ours]
    mark = "*" if doubt or own_doubt else ""
    return theirs / own, f"{theirs / own:.2f}{mark} ({peer} {theirs:.3g} / {own:.3g})"


def mean(ratios):
    return f"**{math.exp(sum(map(math.log, ratios)) / len(ratios)):.2f}** ({len(ratios)})" if ratios else "-"


def table(cases, ours):
    """The Markdown lines. Columns are settings, rows are cases, then geometric means by class."""
    settings = sorted({setting for row in cases.values() for setting in row})
    cells = {case: {s: ratio(row.get(s, {}), ours) for s in settings} for case, row in cases.items()}
    heads = [f"{mode}, batch {n}, {threads} thread{'s' * (threads > 1)}" for mode, n, threads in settings]
    lines = ["| case | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]

    def line(head, row):
        lines.append(f"| {head} | " + " | ".join(row) + " |")

    for what in ("layers", "nets"):
        for case in (c for c in cases if c[0] == what):
            line(case[1], [cells[case][s][1] if cells[case][s] else "-" for s in settings])

    def means(head, chosen):
        if chosen:
            line(head, [mean([cells[c][s][0] for c in chosen if cells[c][s]]) for s in settings])

    layers = [case for case in cases if case[0] == "layers"]
    for kind in CLASSES:
        means(f"**{kind}**", [case for case in layers if class_of(case[1]) == kind])
    means("**all layers**", layers)
    means("**all networks**", [case for case in cases if case[0] == "nets"])
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ours", default="svertka", help="the worker whose times stand below the line [svertka]")
    parser.add_argument("files", nargs="+", metavar="FILE", help="JSON lines")
    options = parser.parse_args()
    lines = []
    for path in options.files:
        with open(path, encoding="utf-8") as file:
            lines += file.readlines()
    cases, errors = read(lines)
    if not cases:
        sys.exit("table.py: no measurement in " + ", ".join(options.files))
    print(f"Median of the best other library over that of {options.ours} (ms / ms); above 1 {options.ours} is faster. Bold: geometric means, with")
    print(f"the number of cases. An asterisk: the machine gave less than {QUIET:.0%} of its best at that moment.\n")
    print("\n".join(table(cases, options.ours)))
    if errors:
        print("\nNot measured:\n\n" + "\n".join(f"- {error}" for error in errors))


if __name__ == "__main__":
    main()
