"""The audience of the demo: approved half-way, delivered to a shop's webhook and to a list in Klaviyo.

The limit of entries is lower than their number in the rest of the run, so the breaker holds the audience, and
it is released. After the approval, at the last order and at the end, both destinations must know exactly the
VIPs who have agreed to be written to, computed here from the state topic and the input, without the rule of
the audience.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from time import monotonic
from typing import Final

import msgspec
from aiokafka import TopicPartition

from segops.config import Settings
from segops.core.errors import SegopsError
from segops.demo import klaviyo, receiver
from segops.demo.change_collector import read_state
from segops.demo.commands import Commands
from segops.demo.environment import AUDIENCE, Environment
from segops.demo.klaviyo import KlaviyoAccount
from segops.demo.purchases import reachable_at
from segops.demo.receiver import Receiver
from segops.kafka.reading import read_all
from segops.processes import pages
from segops.processes.child import Child
from segops.schemas.changes import decode_change

_LOOK_S: Final = 0.3
_STUCK_S: Final = 90.0
_SEGMENT: Final = "vip"
_HELD: Final = "segops_audience_held"
_SUGGESTION: Final = re.compile(r"^to approve it: segops (audiences approve .+)$", re.MULTILINE)
_DESTINATIONS: Final = """\
version: 1
destinations:
  - {{name: shop-hook, kind: webhook, url: "http://127.0.0.1:{hook}/hook", secrets: [{{env: SHOP_SECRET}}]}}
  - {{name: klaviyo, kind: klaviyo, url: "http://127.0.0.1:{klaviyo}", key: {{env: KLAVIYO_PRIVATE_KEY}}}}
"""


class Delivered(msgspec.Struct, frozen=True):
    """The members at each comparison, figures of the delivery, and a message per difference."""

    members: list[int]
    entries: int
    exits: int
    repeated: int
    requests: int
    holds: int
    at_most: int
    differences: list[str]


class Activation:
    """Approval, delivery and comparison of the audience."""

    def __init__(
        self, environment: Environment, say: Callable[[str], None], hook: Receiver, account: KlaviyoAccount
    ) -> None:
        self._environment = environment
        self._commands = Commands(environment, say)
        self._hook = hook
        self._account = account
        self._child: Child | None = None
        self._compared: list[int] = []
        self._differences: list[str] = []
        self._holds = 0
        #: Entries before the approval; those due since then, members included, at the latest release.
        self._earlier = self._due = 0

    async def approve(self, children: ExitStack) -> None:
        """Approve the audience as a person does, and start the process that delivers it."""
        environment, run, say = self._environment, self._commands.run, self._commands.say
        hook, account, web = environment.delivery_ports
        file = environment.folder / "destinations.yaml"
        file.write_text(_DESTINATIONS.format(hook=hook, klaviyo=account))
        say("The VIPs who have agreed to be written to are an audience. A person approves it:")
        self._earlier = await entries_of(environment.settings)
        await run("destinations", "apply", file.name)
        await run("audiences", "plan", AUDIENCE)
        submitted = await run("audiences", "submit", AUDIENCE)
        if (suggested := _SUGGESTION.search(submitted)) is None:
            raise SegopsError(f"segops audiences submit names no command to approve:\n{submitted}")
        await run(*suggested[1].split())
        say("")
        self._account.refused.clear()  # the approval has tried an incomplete request
        self._child = children.enter_context(
            Child(
                "activate",
                "--web-port",
                str(web),
                environment=environment.variables,
                log=environment.folder / "activate.log",
            )
        )

    def check(self) -> None:
        """Raise SegopsError if the process has ended."""
        if self._child is not None:
            self._child.check()

    async def watch(self) -> None:
        """Release the audience each time the breaker has held it. Runs until cancelled."""
        web = self._environment.delivery_ports[-1]
        while True:
            await asyncio.sleep(_LOOK_S)
            if not await pages.total([web], _HELD):
                continue
            self._holds += 1
            self._check_limit()
            self._commands.say("The breaker has held the audience. A person looks, and releases it:")
            await self._commands.run("audiences", "show", AUDIENCE)
            await self._commands.run("audiences", "release", AUDIENCE)
            self._commands.say("")
            entered = await entries_of(self._environment.settings) - self._earlier
            self._due = self._compared[0] + entered
            while await pages.total([web], _HELD):
                await asyncio.sleep(_LOOK_S)

    def _check_limit(self) -> None:
        """Since the latest release, no more than its due entries and the limit may have been sent."""
        most = self._due + self._environment.entries_at_most
        if self._hook.entries > most:
            self._differences.append(f"{self._hook.entries:,} entries were sent, at most {most:,} allowed")

    async def compare(self, phase: str) -> None:
        """Wait until both destinations know exactly the members; note a difference if they never do.

        The input must be at rest.
        """
        rows = await read_state(self._environment.settings)
        members = (row.profile_id for row in rows.values() if row.segment_key == _SEGMENT and row.member)
        expected = {email for each in members if (email := reachable_at(each)) is not None}
        self._compared.append(len(expected))
        known: dict[str, Receiver | KlaviyoAccount] = {"shop-hook": self._hook, "klaviyo": self._account}
        for name, destination in known.items():
            if not await _until_equal(destination, expected):
                wrong = sorted(destination.members ^ expected)
                self._differences.append(f"{phase}: {name} is wrong about {len(wrong):,}, as {wrong[:3]}")

    def result(self) -> Delivered:
        """Return the figures and all differences."""
        hook, account = self._hook, self._account
        refused = [f"klaviyo refused {each}" for each in account.refused]
        if hook.refused:
            refused.append(f"shop-hook refused {hook.refused:,} requests")
        return Delivered(
            self._compared,
            hook.entries,
            hook.exits,
            hook.repeated,
            account.requests,
            self._holds,
            self._environment.entries_at_most,
            [*self._differences, *refused],
        )


async def entries_of(settings: Settings) -> int:
    """Return how often profiles have entered the segment of the audience, by all changes published so far."""
    topics = settings.topics
    partitions = [TopicPartition(topics.membership_changes, each) for each in range(topics.partitions)]
    changes = [decode_change(each.value) for each in await read_all(settings.kafka, *partitions)]
    return sum(each.member and each.segment_key == _SEGMENT for each in changes)


async def _until_equal(destination: Receiver | KlaviyoAccount, expected: set[str]) -> bool:
    """Wait until a destination knows these members; False if nothing has moved for long before that."""
    last, moved = -1, monotonic()
    while destination.members != expected:
        if destination.requests != last:
            last, moved = destination.requests, monotonic()
        if monotonic() - moved > _STUCK_S:
            return False
        await asyncio.sleep(_LOOK_S)
    return True


@asynccontextmanager
async def activation(environment: Environment, say: Callable[[str], None]) -> AsyncIterator[Activation]:
    """Run the webhook and the account during the block."""
    hook, account, _ = environment.delivery_ports
    async with AsyncExitStack() as stack:
        yield Activation(
            environment,
            say,
            await stack.enter_async_context(receiver.receiving(hook)),
            await stack.enter_async_context(klaviyo.serving(account)),
        )
