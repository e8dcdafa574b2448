"""The checker finds what it is there to find. `python3 -m unittest` in this folder."""

import unittest

from checker import GONE, History


class Checks(unittest.TestCase):
    def setUp(self):
        self.history = History()
        self.key = self.history.add("k", 0)

    def put(self, acknowledged=True, delete=False):
        versions = self.history.begin([self.key], delete)
        if acknowledged:
            self.history.acknowledge([self.key])
        return versions[0]

    def read(self, shown, floors=None):
        floors = floors or self.history.floors([self.key])
        self.history.check("read", floors, {} if shown is GONE else {"k": shown})
        return [violation.kind for violation in self.history.violations]

    def test_the_acknowledged_version_is_fine(self):
        self.put()
        self.assertEqual(self.read(self.put()), [])

    def test_an_older_version_is_stale(self):
        old = self.put()
        self.put()
        self.assertEqual(self.read(old), ["stale read"])

    def test_a_missing_key_is_found(self):
        self.put()
        self.assertEqual(self.read(GONE), ["under-return or lost write"])

    def test_a_deleted_key_stays_deleted(self):
        old = self.put()
        self.put(delete=True)
        self.assertEqual(self.read(GONE), [])
        self.assertEqual(self.read(old), ["back from deletion"])

    def test_a_version_that_nobody_wrote_is_found(self):
        self.put()
        self.assertEqual(self.read(7), ["invented"])
        self.history.check("read", {}, {"other": 1})
        self.assertEqual(self.history.violations[-1].kind, "invented")

    def test_a_write_under_way_may_be_seen_or_not_but_not_unseen_again(self):
        old = self.put()
        new = self.put(acknowledged=False)
        self.assertEqual(self.read(old), [])
        self.assertEqual(self.read(new), [])
        self.assertEqual(self.read(old), ["stale read"])

    def test_an_unknown_delete_may_happen_late_and_then_holds(self):
        old = self.put()
        self.put(acknowledged=False, delete=True)
        self.history.unknown([self.key])
        self.assertEqual(self.read(old), [])
        self.assertEqual(self.read(GONE), [])
        self.assertEqual(self.read(old), ["back from deletion"])

    def test_a_read_that_began_before_the_write_may_show_either(self):
        old = self.put()
        before = self.history.floors([self.key])
        new = self.put()
        self.assertEqual(self.read(old, before), [])
        self.assertEqual(self.read(new, before), [])


if __name__ == "__main__":
    unittest.main()
