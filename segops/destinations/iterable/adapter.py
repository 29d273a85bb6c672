"""The adapter of Iterable: users of static lists, their data, and events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal, NamedTuple

from pydantic import Field

from segops.config import Settings
from segops.destinations.http import HttpClient
from segops.destinations.iterable import api, bodies
from segops.destinations.iterable.api import IterableApi, document_of
from segops.destinations.iterable.failures import ABSENT, failures_of, outcome_of
from segops.destinations.model import ApiUrl, Form, Secret
from segops.destinations.port import (
    Accepted,
    Batch,
    DestinationAway,
    DestinationRefuses,
    Finding,
    Message,
    Outcome,
    Person,
    Refused,
    Request,
)
from segops.metrics import Metrics

#: A request has at most 4 MB, about 1,000 users; an event has some fields more than its message.
_MAX_MESSAGES: Final = 1_000
_MAX_BYTES: Final = 3_000_000
_STATIC: Final = "Standard"
_FIELDS: Final = {"email": "email", "user_id": "userId"}
_OK: Final = Accepted()


class IterableForm(Form):
    """What is written of an Iterable project. ``url``: a server other than that of the region."""

    kind: Literal["iterable"]
    key: Secret
    region: Literal["us", "eu"] = "us"
    url: ApiUrl | None = None
    identify_by: Literal["email", "user_id"] = "email"
    timeout_s: float = Field(default=30.0, gt=0, le=120)

    @property
    def server(self) -> str:
        """The address of the API."""
        return self.url or api.HOSTS[self.region]


class Step(NamedTuple):
    """One of the requests that tell of messages, and the lists of failures that are as good as done."""

    endpoint: api.Endpoint
    body: Callable[[Sequence[Message]], dict[str, Any]]
    messages: Sequence[Message]
    done: frozenset[str] = frozenset()


class IterableProject:
    """The adapter of one project. ``options``: ``list``, ``event``, or both."""

    batch = Batch(_MAX_MESSAGES, _MAX_BYTES)

    def __init__(self, project: IterableApi, form: IterableForm) -> None:
        self._api = project
        self._url = form.server
        self._field = _FIELDS[form.identify_by]
        #: Lists that were found to be static: users of another type of list would be suppressed.
        self._static: set[int] = set()

    def address_of(self, person: Person) -> str | None:
        """Return the e-mail address, without spaces around it and in lower case, or the user id."""
        if self._field == "userId":
            return (person.user_id or "").strip() or None
        return None if person.email is None else person.email.strip().lower() or None

    async def send(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Sequence[Outcome]:
        """Add those who are members, update their data, remove those who are not, then record the entries."""
        list_id, event = _options(options)
        if list_id is not None:
            await self._require_static(list_id)
        failed: dict[str, Outcome] = {}
        for step in self._on_users(messages, list_id):
            failed |= await self._carry_out(step, step.messages, list_id)
        if event is not None:
            step = self._on_events([each for each in messages if each.address not in failed], event)
            failed |= await self._carry_out(step, step.messages, None)
        return [failed.get(each.address, _OK) for each in messages]

    # -- requests --------------------------------------------------------------------------------------

    def _on_users(self, messages: Sequence[Message], list_id: int | None) -> Iterator[Step]:
        by_action: dict[str, list[Message]] = {"entered": [], "updated": [], "exited": []}
        for each in messages:
            by_action[each.action].append(each)
        changed = by_action["updated"]
        if list_id is None:
            changed += by_action["entered"]
        else:
            add = partial(bodies.subscription, field=self._field, list_id=list_id)
            remove = partial(bodies.removal, field=self._field, list_id=list_id)
            yield Step(api.SUBSCRIBE, add, by_action["entered"])
            yield Step(api.UNSUBSCRIBE, remove, by_action["exited"], ABSENT)
        changed = [each for each in changed if bodies.fields_of(each.properties)]
        yield Step(api.UPDATE, partial(bodies.update, field=self._field), changed)

    def _on_events(self, messages: Sequence[Message], event: str) -> Step:
        entered = [each for each in messages if each.action == "entered" and not each.quiet]
        return Step(api.EVENTS, partial(bodies.events, field=self._field, name=event), entered)

    async def _carry_out(
        self, step: Step, messages: Sequence[Message], list_id: int | None
    ) -> dict[str, Outcome]:
        """Make the request of some messages of a step; return the outcomes of those that failed.

        What fails without being named is tried in halves: every request may be repeated. ``list_id``: the
        list to look at if the request is refused.
        """
        if not messages:
            return {}
        answer = await self._api.call(step.endpoint, body=step.body(messages))
        named: dict[str, str] = {}
        if answer.is_accepted:
            document = document_of(answer)
            _check_event(document)
            found = failures_of(document, by_email=self._field == "email")
            named = {each.address: found[each.address] for each in messages if each.address in found}
            if document.get("failCount", 0) <= len(named):
                return _outcomes(step, named)
        elif list_id is not None:
            self._static.discard(list_id)
            await self._require_static(list_id)
        rest = [each for each in messages if each.address not in named]
        if len(rest) == 1 == len(messages):
            return {rest[0].address: Refused(answer.detail)}
        half = (len(rest) + 1) // 2
        first = await self._carry_out(step, rest[:half], None)
        return _outcomes(step, named) | first | await self._carry_out(step, rest[half:], None)

    async def _require_static(self, list_id: int) -> None:
        """Raise DestinationRefuses unless the project has this static list."""
        if list_id in self._static:
            return
        if (found := await self._type_of(list_id)) != _STATIC:
            raise DestinationRefuses(_wrong_list(list_id, found))
        self._static.add(list_id)

    async def _type_of(self, list_id: int) -> str | None:
        """Return the type of a list; None if there is none."""
        answer = await self._api.call(api.LISTS)
        if not answer.is_accepted:
            raise DestinationRefuses(f"the lists of the project: {answer.detail}")
        return next(
            (each["listType"] for each in document_of(answer)["lists"] if each["id"] == list_id), None
        )

    # -- people ----------------------------------------------------------------------------------------

    def preview(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Sequence[Request]:
        """Return the requests for users, and for the events."""
        list_id, event = _options(options)
        steps = [*self._on_users(messages, list_id)]
        if event is not None:
            steps.append(self._on_events(messages, event))
        return [
            Request(step.endpoint.method, self._url + step.endpoint.path, step.body(step.messages))
            for step in steps
            if step.messages
        ]

    async def check(self, options: Mapping[str, Any]) -> Sequence[Finding]:
        """Read the lists of the project, and find the one that the options name. Nothing is written."""
        try:
            list_id = None if options.get("list") is None else _options(options)[0]
            found = await self._type_of(list_id or 0)
        except (DestinationAway, DestinationRefuses) as error:
            return [Finding(False, f"the project: {error}")]
        findings = [Finding(True, "the project: found")]
        if list_id is not None:
            ok = found == _STATIC
            findings.append(Finding(ok, f"the list {list_id}: found" if ok else _wrong_list(list_id, found)))
        return findings

    def members(self, options: Mapping[str, Any]) -> AsyncIterator[str] | None:
        """Return the addresses of the users in the list; None without a list."""
        list_id, _ = _options(options)
        return None if list_id is None else self._members(list_id)

    async def _members(self, list_id: int) -> AsyncIterator[str]:
        query = {"listId": str(list_id)} | ({"preferUserId": "true"} if self._field == "userId" else {})
        answer = await self._api.call(api.USERS, query=query)
        if not answer.is_accepted:
            raise DestinationRefuses(f"the list {list_id}: {answer.detail}")
        for line in answer.body.decode().splitlines():
            if address := line.strip():
                yield address

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()


def open_iterable(form: IterableForm, _settings: Settings, metrics: Metrics) -> IterableProject:
    """Open a project. Raises UserError for a missing key."""
    key = form.key.read()
    client = HttpClient(form.name, metrics, timeout_s=form.timeout_s, secrets=[key])
    return IterableProject(IterableApi(client, form.server, key), form)


def _options(options: Mapping[str, Any]) -> tuple[int | None, str | None]:
    list_id, event = options.get("list"), options.get("event")
    if list_id is None and event is None:
        raise DestinationRefuses("the audience names neither a list nor an event")
    if list_id is not None and not (str(list_id).isascii() and str(list_id).isdecimal()):
        raise DestinationRefuses(f"list: expected the number of a list, got {list_id!r}")
    return (None if list_id is None else int(list_id)), (None if event is None else str(event))


def _outcomes(step: Step, named: Mapping[str, str]) -> dict[str, Outcome]:
    return {address: outcome_of(name) for address, name in named.items() if name not in step.done}


def _check_event(answer: Mapping[str, Any]) -> None:
    if names := answer.get("disallowedEventNames"):
        raise DestinationRefuses(f"the project does not take the event {', '.join(map(str, names))}")


def _wrong_list(list_id: int, found: str | None) -> str:
    if found is None:
        return f"the list {list_id} does not exist"
    return f"the list {list_id}: expected a static list, got type {found}"
