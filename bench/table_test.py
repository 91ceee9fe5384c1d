"""python3 -m unittest discover -s bench -p '*_test.py'"""
import doctest
import json
import unittest

import table


def line(case, peer, med, threads=1, cal=100, **more):
    record = dict(what="layers", mode="fwd", case=case, n=1, threads=threads, peer=peer, med=med, best=med / 2, cal_med=cal)
    record.update(more)
    return json.dumps(record) + "\n"


def load_tests(_loader, tests, _pattern):
    tests.addTests(doctest.DocTestSuite(table))
    return tests


class Table(unittest.TestCase):
    def rows(self, lines, ours="svertka"):
        return {row.split(" | ")[0].strip("| "): row.strip("| ").split(" | ")[1:] for row in table.table(table.read(lines)[0], ours)}

    def test_classes_follow_from_names(self):
        expected = {
            table.FIRST: ["r50_7x7s2_3_64_224"],
            table.PLAIN: ["r50_3x3_128_128_28", "r50_3x3_256_256_14", "vgg_3x3_64_64_224"],
            table.OTHER: ["r50_1x1_64_64_56", "r50_3x3s2_128_128_56", "r50_3x3_512_512_7", "r50_1x1s2_512_1024_28", "dil2_3x3_256_256_28",
                          "inc_5x5_48_64_35"],
            "depthwise": ["dw3x3s2_96_112"],
            "grouped": ["grp32_3x3_128_128_56"],
            "transposed": ["tr4x4s2_64_32_64"],
            "1-D": ["conv1d_k9_64_128_4096"],
            "3-D": ["conv3d_3x3x3_16_32_16x56x56"],
        }
        for kind, names in expected.items():
            self.assertEqual([table.class_of(name) for name in names], [kind] * len(names))
        self.assertEqual(set(expected), set(table.CLASSES))

    def test_the_best_other_stands_over_ours(self):
        lines = [line("dw3x3_144_56", "ort", 3), line("dw3x3_144_56", "torch", 9), line("dw3x3_144_56", "svertka", 2),
                 line("dw3x3_144_56", "svertka_nchw", 1), line("dw3x3_960_7", "ort", 6), line("dw3x3_960_7", "svertka", 1)]
        rows = self.rows(lines)
        self.assertEqual(rows["dw3x3_144_56"], ["1.50 (ort 3 / 2)"])
        # The geometric mean of 1.5 and 6.
        self.assertEqual((rows["**depthwise**"], rows["**all layers**"]), (["**3.00** (2)"], ["**3.00** (2)"]))
        self.assertNotIn("**grouped**", rows)
        rows = self.rows(lines, "svertka_nchw")
        self.assertEqual((rows["dw3x3_144_56"], rows["dw3x3_960_7"], rows["**depthwise**"]), (["3.00 (ort 3 / 1)"], ["-"], ["**3.00** (1)"]))

    def test_runs_of_one_case_meet_in_the_middle_and_noisy_ones_do_not_count(self):
        lines = [line("dw3x3_144_56", "ort", ms) for ms in (8, 4, 5)]
        lines += [line("dw3x3_144_56", "svertka", 2), line("dw3x3_144_56", "svertka", 40, cal=60)]
        self.assertEqual(self.rows(lines)["dw3x3_144_56"], ["2.50 (ort 5 / 2)"])
        lines = [line("dw3x3_144_56", "ort", 8), line("dw3x3_144_56", "svertka", 2, cal=60)]
        self.assertEqual(self.rows(lines)["dw3x3_144_56"], ["4.00* (ort 8 / 2)"])

    def test_settings_are_columns_and_errors_are_told(self):
        net = dict(what="nets", mode="train", n=8)
        lines = [line("dw3x3_144_56", "ort", 4), line("dw3x3_144_56", "svertka", 2), line("resnet18", "torch", 30, 2, **net),
                 line("resnet18", "svertka", 20, 2, **net), json.dumps(dict(what="nets", mode="train", case="x", n=8, threads=2, peer="ort",
                                                                           error="err no"))]
        rows = self.rows(lines)
        self.assertEqual(rows["case"], ["fwd, batch 1, 1 thread", "train, batch 8, 2 threads"])
        self.assertEqual((rows["dw3x3_144_56"], rows["resnet18"]), (["2.00 (ort 4 / 2)", "-"], ["-", "1.50 (torch 30 / 20)"]))
        self.assertEqual((rows["**all layers**"], rows["**all networks**"]), (["**2.00** (1)", "-"], ["-", "**1.50** (1)"]))
        self.assertEqual(table.read(lines)[1], ["nets x, train, batch 8, 2 threads: ort: err no"])


if __name__ == "__main__":
    unittest.main()
