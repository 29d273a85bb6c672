"""A faulty network: TCP proxies on loopback, one per broker, in a background thread."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Sequence

_CHUNK = 64 << 10


class FaultyNetwork:
    """Proxies to these ports.

    ``delay_s`` delays every chunk. ``cut`` stops all traffic and loses data in flight; connections stay open.
    ``reset_share`` is the fraction of chunks that reset their connection. While ``down``, all connections
    are closed and new ones refused.
    """

    def __init__(self, ports: Sequence[int], seed: int = 0) -> None:
        self.delay_s = 0.0
        self.cut = False
        self.reset_share = 0.0
        self._rng = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._servers: list[asyncio.Server] = []
        self._ends: set[asyncio.StreamWriter] = set()
        self._ports = {port: self._listen(port) for port in ports}
        self._down = False

    @property
    def redirection(self) -> str:
        """The value of FAULTS_REDIRECT that routes a worker through the proxies."""
        return ",".join(f"{port}={proxy}" for port, proxy in self._ports.items())

    def close(self) -> None:
        """Close all connections."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def down(self) -> bool:
        """Whether the proxies refuse connections."""
        return self._down

    @down.setter
    def down(self, down: bool) -> None:
        if down is not self._down:
            self._down = down
            asyncio.run_coroutine_threadsafe(
                self._stop_listening() if down else self._start_listening(), self._loop
            ).result(10)

    async def _stop_listening(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()
        for end in list(self._ends):
            end.transport.abort()

    async def _start_listening(self) -> None:
        for port, proxy_port in self._ports.items():
            await self._serve_at(port, proxy_port)

    async def _serve_at(self, port: int, proxy_port: int) -> int:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(port, reader, writer)

        server = await asyncio.start_server(serve, "127.0.0.1", proxy_port)
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
            target_reader, target_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        self._ends |= {target_writer, writer}
        try:
            directions = [self._forward(reader, target_writer), self._forward(target_reader, writer)]
            await asyncio.wait(map(asyncio.ensure_future, directions), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in (target_writer, writer):
                self._ends.discard(end)
                end.close()

    async def _was_cut(self) -> bool:
        """Wait while the network is cut; return whether it was, which loses the chunk and the connection."""
        cut = self.cut
        while self.cut:
            await asyncio.sleep(0.05)
        return cut

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                await asyncio.sleep(self.delay_s)
                if await self._was_cut() or self._rng.random() < self.reset_share:
                    writer.transport.abort()
                    return
                writer.write(data)
                await writer.drain()
