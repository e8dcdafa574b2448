"""One engine in a process of its own that is told line by line what to do; bench/src/search/mod.rs has the requests."""

import json
import subprocess
import threading
from pathlib import Path


class Failed(Exception):
    """The engine could not do it."""


class Worker:
    """Ends its process, and only that, when closed or when an answer does not come in time."""

    def __init__(self, command, log, environment=None):
        self.log = Path(log)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "a", encoding="utf-8") as errors:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
        try:
            self.about = self.ask(do="hello")
        except Failed:
            self.close()
            raise
        self.before = memory(self.about["pid"])

    def ask(self, seconds_max=900, **request):
        """The answer to a request; Failed with its reason."""
        timer = threading.Timer(seconds_max, self.process.kill)
        timer.start()
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            answer = self.read()
        except BrokenPipeError:
            raise Failed(self.last_words()) from None
        finally:
            timer.cancel()
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def read(self):
        for line in self.process.stdout:
            # Libraries print too.
            if line.startswith("{"):
                return json.loads(line)
        raise Failed(self.last_words())

    def last_words(self):
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"ended: {lines[-1][:300] if lines else 'without a word'}"

    def resident(self):
        """Bytes in memory now and at most, beyond what the process held before it built or opened anything."""
        now = memory(self.about["pid"])
        return {name: max(0, now[name] - self.before["VmRSS"]) for name in ("VmRSS", "VmHWM")}

    def close(self):
        if self.process.stdin:
            self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def memory(pid):
    """Resident bytes now and at most of a process on Linux."""
    found = {"VmRSS": 0, "VmHWM": 0}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in found:
            found[name] = int(rest.split()[0]) * 1024
    return found
