"""What every read must show, given who wrote what and when.

Each key has one writer, which sends one operation at a time: put version n, or delete. So an operation's number tells its
place in the key's history. Two numbers per key say what a read may show:

    floor    the newest operation that is certainly done: acknowledged, or seen by a read that has ended
    latest   the newest operation that was sent

A read that begins when the floor is f and ends when the latest is l must show an operation of f..=l: less is a stale read
or a lost write, more was never written. An operation without an answer may be done now, later or never, so its key is
written no more ("retired"): what is seen of it may change once, and the floor makes sure that it does not change back.
Python's memory model does the rest: all of it is behind one lock.
"""

import threading
from dataclasses import dataclass, field

GONE = None
"""What a deleted key, or one never written, shows."""


@dataclass
class Key:
    name: str
    group: int
    number: int
    """Written into the vector: which key it is."""
    states: list = field(default_factory=lambda: [GONE])
    """What the key shows after each operation: its version or GONE. Operation 0 is "never written"."""
    floor: int = 0
    latest: int = 0
    retired: bool = False

    def may_be_absent(self, floor: int, latest: int) -> bool:
        return any(state is GONE for state in self.states[floor : latest + 1])


@dataclass(frozen=True)
class Violation:
    kind: str
    """lost, stale, invented, under-return, back from deletion, broken record."""
    text: str


class History:
    """All keys and what is known of them."""

    def __init__(self):
        self.lock = threading.Lock()
        self.keys = {}
        self.violations = []
        self.reads = 0
        self.rows = 0

    def add(self, name: str, group: int) -> Key:
        with self.lock:
            key = Key(name, group, len(self.keys) + 1)
            self.keys[name] = key
            return key

    # --- writes ---

    def begin(self, keys: list, delete: bool) -> list:
        """One operation on each key is about to be sent; returns the versions (GONE for a delete)."""
        with self.lock:
            for key in keys:
                assert not key.retired and key.floor == key.latest, f"{key.name} has an operation under way"
                key.latest += 1
                key.states.append(GONE if delete else key.latest)
            return [key.states[key.latest] for key in keys]

    def acknowledge(self, keys: list):
        with self.lock:
            for key in keys:
                key.floor = key.latest

    def unknown(self, keys: list):
        """No answer, or one that does not say that nothing was done."""
        with self.lock:
            for key in keys:
                key.retired = True

    # --- reads ---

    def floors(self, keys) -> dict:
        """Taken before a read is sent."""
        with self.lock:
            return {key.name: key.floor for key in keys}

    def check(self, what: str, floors: dict, found: dict):
        """A read has ended: `floors` were those of all keys that it covers, `found` is name -> version.

        Records what is wrong, and remembers what was seen.
        """
        with self.lock:
            self.reads += 1
            self.rows += len(found)
            for name in sorted(found.keys() - floors.keys()):
                if name not in self.keys:
                    self.report("invented", f"{what}: {name} was never written")
            for name, floor in floors.items():
                self.check_key(what, self.keys[name], floor, found.get(name, GONE))

    def check_key(self, what: str, key: Key, floor: int, shown):
        allowed = key.states[floor : key.latest + 1]
        if shown in allowed:
            # The oldest operation that explains it: all that is certain.
            key.floor = max(key.floor, floor + allowed.index(shown))
            return
        context = f"{what}: {key.name} shows {describe(shown)}, must show one of {[describe(s) for s in allowed]}"
        self.report(kind(key, floor, shown), context)

    def report(self, kind: str, text: str):
        self.violations.append(Violation(kind, text))

    def broken(self, what: str, text: str):
        with self.lock:
            self.report("broken record", f"{what}: {text}")


def kind(key: Key, floor: int, shown) -> str:
    if shown is GONE:
        return "under-return or lost write"
    if shown in key.states[:floor]:
        return "back from deletion" if key.states[floor] is GONE else "stale read"
    return "invented"


def describe(state) -> str:
    return "nothing" if state is GONE else f"version {state}"
