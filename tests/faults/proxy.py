"""A network that can be bad: TCP forwarders on loopback, one per broker, in a thread of their own."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Sequence

_CHUNK = 64 << 10


class FaultyNetwork:
    """Forwards to these ports. ``delay_s`` holds every chunk back; ``cut`` lets nothing through, connections
    staying open; ``reset_share`` of the chunks end their connection instead; while it is ``down``, all
    connections are ended and new ones refused.
    """

    def __init__(self, ports: Sequence[int], seed: int = 0) -> None:
        self.delay_s = 0.0
        self.cut = False
        self.reset_share = 0.0
        self._dice = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._servers: list[asyncio.Server] = []
        self._ends: set[asyncio.StreamWriter] = set()
        self._ports = {port: self._listen(port) for port in ports}
        self._down = False

    @property
    def redirection(self) -> str:
        """What a worker needs to go this way (FAULTS_REDIRECT)."""
        return ",".join(f"{port}={proxy}" for port, proxy in self._ports.items())

    def close(self) -> None:
        """End all connections."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def down(self) -> bool:
        """Whether it refuses connections."""
        return self._down

    @down.setter
    def down(self, down: bool) -> None:
        if down is not self._down:
            self._down = down
            asyncio.run_coroutine_threadsafe(self._fall() if down else self._rise(), self._loop).result(10)

    async def _fall(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()
        for end in list(self._ends):
            end.transport.abort()

    async def _rise(self) -> None:
        for port, own in self._ports.items():
            await self._serve_at(port, own)

    async def _serve_at(self, port: int, own: int) -> int:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(port, reader, writer)

        server = await asyncio.start_server(serve, "127.0.0.1", own)
        self._servers.append(server)
        found: int = server.sockets[0].getsockname()[1]
        return found

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _listen(self, port: int) -> int:
        return asyncio.run_coroutine_threadsafe(self._serve_at(port, 0), self._loop).result(10)

    async def _serve(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        self._ends |= {back, writer}
        try:
            ways = [self._forward(reader, back), self._forward(there, writer)]
            await asyncio.wait(map(asyncio.ensure_future, ways), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in (back, writer):
                self._ends.discard(end)
                end.close()

    async def _was_cut(self) -> bool:
        """Wait while there is a cut; what was under way then is lost, and so is its connection."""
        cut = self.cut
        while self.cut:
            await asyncio.sleep(0.05)
        return cut

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                await asyncio.sleep(self.delay_s)
                if await self._was_cut() or self._dice.random() < self.reset_share:
                    writer.transport.abort()
                    return
                writer.write(data)
                await writer.drain()
