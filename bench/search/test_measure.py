"""Tests of the measuring itself: `python3 bench/search/run.py --check`."""

import sys
import tempfile
import unittest
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from measure import exact, page, parts, prepare, summary, table


def rows(count, dimension=8, seed=1):
    return prepare.unit(np.random.default_rng(seed).standard_normal((count, dimension)))


class Exact(unittest.TestCase):
    def test_the_truth_is_what_sorting_says(self):
        base, queries = rows(300), rows(5, seed=2)
        kth, wanted = exact.kth_products(base, queries, chunk=70)
        self.assertEqual(wanted, 10)
        np.testing.assert_allclose(kth, np.sort(queries @ base.T, axis=1)[:, -10], atol=1e-6)
        allowed = np.arange(0, 300, 3)
        kth, _ = exact.kth_products(base, queries, allowed, chunk=70)
        np.testing.assert_allclose(kth, np.sort(queries @ base[allowed].T, axis=1)[:, -10], atol=1e-6)

    def test_recall_counts_each_right_row_once(self):
        base, queries = rows(100), rows(1, seed=2)
        right = np.argsort(-(queries @ base.T)[0])
        kth, wanted = exact.kth_products(base, queries)
        check = lambda ids, counts=None: exact.recall(base, queries, [ids], kth, wanted, counts)
        self.assertEqual(check(right[:10]), (1.0, 0, 0))
        self.assertEqual(check([*right[:9], right[50]]), (0.9, 0, 0))
        self.assertEqual(check([right[0]] * 10)[:2], (0.1, 1))
        counts = np.ones(100, bool)
        counts[right[0]] = False
        found, short, wrong = check(right[:10], counts)
        self.assertEqual((round(found, 6), short, wrong), (0.9, 1, 1))

    def test_fewer_rows_than_asked_for_are_all_right(self):
        base, queries = rows(20), rows(1, seed=2)
        allowed = np.array([3, 7])
        kth, wanted = exact.kth_products(base, queries, allowed)
        counts = np.isin(np.arange(20), allowed)
        self.assertEqual(exact.recall(base, queries, [[7, 3]], kth, wanted, counts), (1.0, 0, 0))
        self.assertEqual(exact.recall(base, queries, [[7]], kth, wanted, counts), (0.5, 1, 0))


class Updates(unittest.TestCase):
    def test_a_row_being_put_is_right_in_either_state(self):
        base, query = rows(50), rows(1, seed=3)[0]
        certain = np.ones(50, bool)
        certain[20:30] = False
        right = [i for i in np.argsort(-(base @ query)) if certain[i]][:10]
        self.assertEqual(parts.sampled(base, certain, query, right, (20, 30)), 1.0)
        self.assertEqual(parts.sampled(base, certain, query, [*right[:9], 25], (20, 30)), 1.0)
        self.assertEqual(parts.sampled(base, certain, query, [*right[:5]], (20, 30)), 0.5)

    def test_overwritten_rows_have_their_new_vectors(self):
        old, new = rows(10), rows(10, seed=4)
        now = parts.both_states(old, new, 0, 4)
        np.testing.assert_array_equal(now[:4], new[:4])
        np.testing.assert_array_equal(now[4:], old[4:])


class Filters(unittest.TestCase):
    def test_filters_keep_about_their_share(self):
        random = np.random.default_rng(5)
        columns = {"length": random.integers(1, 2000, 5000).tolist(), "kind": random.choice(["a", "b"], 5000, p=[0.9, 0.1]).tolist(), prepare.RANDOM_KEY: random.integers(0, 1000, 5000).tolist()}
        found = prepare.filters(columns, real=True)
        for name, one in found.items():
            self.assertAlmostEqual(one["share"], float(np.mean(prepare.mask(one, columns))), msg=name)
            if not name.startswith("random"):
                self.assertLessEqual(max(one["share"] / one["wanted"], one["wanted"] / one["share"]), prepare.NEAR + 1e-9, name)
        self.assertIn("kind = a", found)
        self.assertIn("kind = b", found)
        self.assertEqual(sum(name.startswith("random") for name in found), len(prepare.SHARES))


class Curves(unittest.TestCase):
    POINTS = [{"recall": 0.9, "qps": 4000}, {"recall": 0.94, "qps": 500}, {"recall": 1.0, "qps": 1000}]

    def test_speed_at_a_recall_lies_on_the_front(self):
        self.assertEqual([point["qps"] for point in summary.front(self.POINTS)], [4000, 1000])
        self.assertAlmostEqual(summary.at_recall(self.POINTS, 0.95), 2000)
        self.assertEqual(summary.at_recall(self.POINTS, 0.8), 4000)
        self.assertIsNone(summary.at_recall(self.POINTS[:1], 0.95))

    def test_page_and_tables_take_whatever_was_measured(self):
        point = {"setting": "x", "recall": 0.96, "qps": 1000.0, "p50": 1.0, "p99": 2.0, "short": 0, "wrong": 0}
        slow = {**point, "recall": 1.0, "qps": 300.0}
        one = {"rows": 10, "dimension": 2, "raw": 80, "engines": {"engine": {"curve": [point, slow]}, "scann": {"curve": [slow], "build": {"cpu": 1.0}}, "svs": {"failed": {"build": "no"}}}}
        one["engines"]["engine"]["filter"] = {"random 1%": {"share": 0.01, "wanted": 0.01, "is_random": True, "points": [point]}}
        results = {"machine": {"cpu": "<cpu>", "cores": 2, "memory_gb": 1}, "date": "today", "sets": {"s": one}, "scale": {"t": {"core": {"10": {"cpu": 1.0, "memory_share": None, "points": [{**point, "bytes": 5.0}]}}}}}
        text = page.page(results)
        self.assertIn("<polyline", text)
        self.assertNotIn("<cpu>", text)
        self.assertIn("| scann | 300 / 300 |", table.tables(results))
        image = ElementTree.fromstring(page.growth_image(results["scale"], "bytes"))
        self.assertEqual(len(image.findall("{*}circle")), 1)
        self.assertEqual(page.growth_image({}, "bytes"), "")

    def test_marks_of_an_axis_lie_on_it(self):
        for axis in (page.Axis([0.8, 1.0], (0, 100), False), page.Axis([90, 12_000], (0, 100), True), page.RecallAxis([], (0, 100), False, (0.7, 1.0))):
            self.assertTrue(axis.marks())
            for mark in axis.marks():
                self.assertTrue(-1e-6 <= axis.place(mark) <= 100 + 1e-6)


class Prepared(unittest.TestCase):
    def test_generated_rows_are_the_same_each_time_and_clustered(self):
        with tempfile.TemporaryDirectory() as folder:
            made = []
            for name in "ab":
                prepare.generated_set(Path(folder) / name, 3000, 32, queries=50)
                made.append(np.load(Path(folder) / name / "base.npy"))
            np.testing.assert_array_equal(*made)
            data = parts.Set("a", Path(folder) / "a", 1000)
            kth, wanted = data.truth()
            self.assertEqual((len(kth), wanted), (50, 10))
            # Far nearer than rows drawn evenly would be.
            self.assertGreater(float(np.mean(kth)), float(np.mean(exact.kth_products(rows(1000, 32), rows(50, 32, seed=9))[0])))


def run():
    """Runs all of it; the exit status."""
    done = unittest.TextTestRunner(stream=sys.stdout).run(unittest.defaultTestLoader.loadTestsFromModule(sys.modules[__name__]))
    bad = len(done.failures) + len(done.errors)
    print(f"{done.testsRun - bad} passed, {bad} failed", flush=True)
    return bad > 0
