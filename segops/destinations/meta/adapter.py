"""The adapter of Meta: people in Custom Audiences, by hashed identifiers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import Field

from segops.config import Settings
from segops.destinations.http import HttpClient
from segops.destinations.meta.api import GraphApi, proof_of
from segops.destinations.meta.failures import BY_BODY
from segops.destinations.meta.rows import IdentifyBy, People
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

#: A request takes at most 10,000 rows; a row is shorter than its message.
_MAX_MESSAGES: Final = 10_000
_MAX_BYTES: Final = 8 << 20
#: With more invalid rows in one request something is wrong with all of them.
_MAX_INVALID: Final = 20
_FLAGGED: Final = 471
_FIELDS: Final = "id,operation_status,is_value_based"
_OK: Final = Accepted()


class MetaForm(Form):
    """What is written of an access to Meta. ``phone``: the trait with telephone numbers."""

    kind: Literal["meta"]
    token: Secret
    app_secret: Secret | None = None
    identify_by: IdentifyBy = "email"
    phone: str = Field(default="phone", min_length=1, max_length=200)
    version: str = Field(default="v25.0", pattern=r"^v[0-9]{1,3}\.[0-9]{1,2}$")
    url: ApiUrl = "https://graph.facebook.com"
    timeout_s: float = Field(default=60.0, gt=0, le=120)

    @property
    def root(self) -> str:
        """The address of the version of the API."""
        return f"{self.url}/{self.version}"


class Meta:
    """The adapter of one token. ``options``: ``audience``, and ``value`` for value-based audiences."""

    batch = Batch(_MAX_MESSAGES, _MAX_BYTES)

    def __init__(self, graph: GraphApi, form: MetaForm) -> None:
        self._graph = graph
        self._root = form.root
        self._people = People(form.identify_by, form.phone)

    def address_of(self, person: Person) -> str | None:
        """Return the e-mail address, the telephone number or the user id, normalised."""
        return self._people.address_of(person)

    async def send(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Sequence[Outcome]:
        """Add those who are members, and remove those who are not."""
        audience, value = _options(options)
        staying, leaving = _sorted(messages, value)
        refused = await self._add(staying, audience, value) if staying else {}
        if leaving:
            # A row that is invalid now was invalid when it was to be added.
            await self._graph.call("DELETE", f"{audience}/users", body=self._people.removed(leaving))
        return [refused.get(each.address, _OK) for each in messages]

    async def _add(self, messages: Sequence[Message], audience: str, value: str | None) -> dict[str, Outcome]:
        """Add people; return those whose rows are invalid, who are found by halves: rows may be repeated."""
        body = self._people.added(messages, value)
        answer = await self._graph.call("POST", f"{audience}/users", body=body)
        invalid = int(answer.get("num_invalid_entries") or 0)
        if not invalid:
            return {}
        if len(messages) == 1:
            return {messages[0].address: Refused("Meta counts the row as invalid", _session(answer))}
        if invalid > _MAX_INVALID:
            raise DestinationRefuses(
                f"the audience {audience}: {invalid} of {len(messages)} rows are invalid"
            )
        half = len(messages) // 2
        first = await self._add(messages[:half], audience, value)
        return first | await self._add(messages[half:], audience, value)

    def preview(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Sequence[Request]:
        """Return the requests that add and remove, with hashes instead of people."""
        audience, value = _options(options)
        staying, leaving = _sorted(messages, value)
        url, found = f"{self._root}/{audience}/users", []
        if staying:
            found.append(Request("POST", url, self._people.added(staying, value)))
        if leaving:
            found.append(Request("DELETE", url, self._people.removed(leaving)))
        return found

    async def check(self, options: Mapping[str, Any]) -> Sequence[Finding]:
        """Read whom the token belongs to, and the audience if the options name one. Nothing is written."""
        found = [await self._checked("the token", "me", "id", lambda _: None)]
        if "audience" in options:
            try:
                audience, value = _options(options)
            except DestinationRefuses as error:
                return [*found, Finding(False, str(error))]
            what = f"the audience {audience}"
            found.append(await self._checked(what, audience, _FIELDS, lambda read: _problem(read, value)))
        return found

    async def _checked(self, what: str, path: str, fields: str, problem_of: Any) -> Finding:
        try:
            problem = problem_of(await self._graph.call("GET", path, query={"fields": fields}))
        except (DestinationAway, DestinationRefuses) as error:
            problem = str(error)
        return Finding(problem is None, f"{what}: {problem or 'found'}")

    def members(self, options: Mapping[str, Any]) -> AsyncIterator[str] | None:
        """Return None: Meta shows no one who is in an audience."""
        return None

    async def close(self) -> None:
        """Close the connections."""
        await self._graph.close()


def open_meta(form: MetaForm, _settings: Settings, metrics: Metrics) -> Meta:
    """Open an access to Meta. Raises UserError for a missing secret."""
    token = form.token.read()
    app_secret = None if form.app_secret is None else form.app_secret.read()
    proofs = [] if app_secret is None else [app_secret, proof_of(token, app_secret)]
    client = HttpClient(
        form.name, metrics, timeout_s=form.timeout_s, secrets=[token, *proofs], by_body=BY_BODY
    )
    return Meta(GraphApi(client, form.root, token, app_secret), form)


def _options(options: Mapping[str, Any]) -> tuple[str, str | None]:
    audience, value = options.get("audience"), options.get("value")
    if audience is None:
        raise DestinationRefuses("missing option audience: the id of a Custom Audience")
    if not (str(audience).isascii() and str(audience).isdecimal()):
        raise DestinationRefuses(f"audience: expected the number of a Custom Audience, got {audience!r}")
    if value is None:
        return str(audience), None
    kind, _, name = str(value).partition(".")
    if kind not in ("indicator", "trait") or not name:
        raise DestinationRefuses(f"value: expected indicator.KEY or trait.PATH, got {value!r}")
    return str(audience), name


def _sorted(messages: Sequence[Message], value: str | None) -> tuple[list[Message], list[Message]]:
    """Return who is added, and who is removed. Of an update, Meta takes the value alone."""
    added = ("entered",) if value is None else ("entered", "updated")
    staying = [each for each in messages if each.action in added]
    return staying, [each for each in messages if each.action == "exited"]


def _session(answer: Mapping[str, Any]) -> str:
    return str(answer.get("session_id") or "")


def _problem(audience: Mapping[str, Any], value: str | None) -> str | None:
    """Return why an audience, as it was read, does not take what would be sent."""
    status = audience.get("operation_status") or {}
    if status.get("code") == _FLAGGED:
        return "Meta has blocked it (operation_status 471): appeal in the Audience Manager"
    based = bool(audience.get("is_value_based"))
    if based is (value is not None):
        return None
    return "it is value-based: the option value is missing" if based else "it is not value-based"
