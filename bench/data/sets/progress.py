"""Progress of a long loop: one line that is rewritten on a terminal, a line now and then elsewhere."""

import sys
import time


class Progress:
    """Counts up to `total`, printing rate and time left at most every `every` seconds."""

    def __init__(self, label, total, done=0, every=None):
        self.label, self.total, self.start_count = label, total, done
        self.done, self.start = done, time.monotonic()
        self.every = every if every is not None else (0.2 if sys.stdout.isatty() else 20.0)
        self.printed = self.start

    def add(self, count):
        self.done += count
        now = time.monotonic()
        if now - self.printed >= self.every or self.done >= self.total:
            self.printed = now
            self._print(now)

    def _print(self, now):
        rate = (self.done - self.start_count) / max(now - self.start, 1e-9)
        left = (self.total - self.done) / rate if rate else 0
        text = f"{self.label}: {self.done:,}/{self.total:,} {rate:,.0f}/s, {left:,.0f} s left"
        if sys.stdout.isatty():
            print(f"\r{text}\033[K", end="\n" if self.done >= self.total else "", flush=True)
        else:
            print(text, flush=True)
