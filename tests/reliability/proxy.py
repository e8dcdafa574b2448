#!/usr/bin/env python3
"""A proxy in front of an object store that breaks what networks and services break.

    proxy.py TARGET_PORT        prints the port it listens on, then takes one JSON object a line on standard input:

    {"delay": 0.05}             seconds added to each answer
    {"faults": {"cut": 0.1}}    probability of each fault, by request; replaces what was set before
    {"link": "hang"}            "ok", "hang" (accepts and answers nothing), "refuse" (cuts every connection)
    {"report": true}            prints {"requests": n, "faults": {...}} on standard output

    fault        what happens to a request
    cut          the connection is cut before the store sees it
    lost         the store executes it, then the connection is cut without an answer
    half_before  it is swallowed; the connection stays open and silent
    half_after   the store executes it; the connection stays open and silent
    busy         answered 503 SlowDown without being executed
    error        the store executes it, the answer is 500 InternalError
    slow         answered 0.3 to 1.5 s late
    late         executed 4 to 12 s later, whether or not the sender still waits: a request overtaken by its repetitions

Ends when standard input ends. Loopback only. A request is read whole before anything is decided, so a fault is one of
requests and not of bytes; `link` is one of connections.
"""

import asyncio
import json
import os
import random
import sys

HEAD_BYTES_MAX = 64 << 10
FAULTS = ("cut", "lost", "half_before", "half_after", "busy", "error", "slow", "late")
XML = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>%s</Code><Message>from the proxy</Message></Error>'


class Cut(Exception):
    """The connection ends here."""


class Proxy:
    def __init__(self, target: int):
        self.target = target
        self.delay = 0.0
        self.faults = {}
        self.link = "ok"
        self.healed = asyncio.Event()
        self.requests = 0
        self.counts = dict.fromkeys(FAULTS, 0)
        self.connections = set()
        self.tasks = set()
        self.random = random.Random()

    # --- control ---

    def control(self, order: dict):
        self.delay = order.get("delay", self.delay)
        if "faults" in order:
            assert set(order["faults"]) <= set(FAULTS), order
            self.faults = order["faults"]
        if "link" in order:
            self.set_link(order["link"])
        if order.get("report"):
            print(json.dumps({"requests": self.requests, "faults": self.counts}), flush=True)

    def set_link(self, link: str):
        assert link in ("ok", "hang", "refuse"), link
        self.link = link
        if link == "ok":
            self.healed.set()
        else:
            self.healed.clear()
        if link == "refuse":
            for writer in list(self.connections):
                writer.transport.abort()

    # --- data ---

    async def serve(self, reader, writer):
        self.connections.add(writer)
        upstream = None
        try:
            while True:
                request = await read_message(reader)
                if request is None:
                    return
                self.requests += 1
                await self.open_link()
                upstream = await self.one(request, writer, upstream)
        except (Cut, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass
        finally:
            self.connections.discard(writer)
            writer.transport.abort()
            if upstream:
                upstream[1].transport.abort()

    async def open_link(self):
        if self.link == "refuse":
            raise Cut
        if self.link == "hang":
            await self.healed.wait()
            # Its sender has long given up; what was swallowed stays swallowed.
            raise Cut

    def choose(self) -> str:
        chance = self.random.random()
        for fault, probability in self.faults.items():
            chance -= probability
            if chance < 0:
                self.counts[fault] += 1
                return fault
        return ""

    async def one(self, request, writer, upstream):
        fault = self.choose()
        if fault == "cut":
            raise Cut
        if fault == "half_before":
            await asyncio.sleep(60)
            raise Cut
        if fault == "busy":
            answer(writer, 503, b"SlowDown")
            return upstream
        if fault == "late":
            self.spawn(self.execute_later(request))
            await asyncio.sleep(60)
            raise Cut
        upstream, reply = await self.execute(request, upstream)
        if fault == "lost":
            raise Cut
        if fault == "half_after":
            await asyncio.sleep(60)
            raise Cut
        if fault == "error":
            answer(writer, 500, b"InternalError")
            return upstream
        wait = self.delay + (self.random.uniform(0.3, 1.5) if fault == "slow" else 0)
        if wait:
            await asyncio.sleep(wait)
        writer.write(reply)
        await writer.drain()
        return upstream

    async def execute(self, request, upstream):
        head, body = request
        if upstream is None:
            upstream = await asyncio.open_connection("127.0.0.1", self.target, limit=HEAD_BYTES_MAX)
        reader, out = upstream
        out.write(head)
        out.write(body)
        await out.drain()
        head_only = head.startswith(b"HEAD ")
        reply = await read_message(reader, head_only)
        if reply is None:
            raise Cut
        return upstream, reply[0] + reply[1]

    async def execute_later(self, request):
        await asyncio.sleep(self.random.uniform(4, 12))
        try:
            upstream, _ = await self.execute(request, None)
            upstream[1].transport.abort()
        except (Cut, OSError, asyncio.IncompleteReadError):
            pass

    def spawn(self, work):
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


async def read_message(reader, head_only=False):
    """Head and body of one HTTP message, as they came; None at an orderly end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as end:
        if end.partial:
            raise
        return None
    length, chunked = 0, False
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        name = name.strip().lower()
        if name == b"content-length":
            length = int(value)
        elif name == b"transfer-encoding":
            chunked = b"chunked" in value.lower()
    if head_only or head[9:12] in (b"204", b"304"):
        return head, b""
    if chunked:
        return head, await read_chunks(reader)
    return head, await reader.readexactly(length) if length else b""


async def read_chunks(reader):
    body = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        body += line + await reader.readexactly(size + 2)
        if size == 0:
            return body


def answer(writer, status: int, code: bytes):
    body = XML % code
    head = f"HTTP/1.1 {status} From-The-Proxy\r\ncontent-type: application/xml\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)


async def main():
    proxy = Proxy(int(sys.argv[1]))
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, limit=1 << 20, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        proxy.control(json.loads(line))
    # Requests that are being swallowed have no orderly end.
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
