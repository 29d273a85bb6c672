"""What an account of the stand-in holds: profiles, lists, import jobs and events; and what it answers."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.klaviyo.contract import Refused

_ANY = re.compile(r"any\((email|id),(\[.*\])\)", re.DOTALL)
STUCK_S = 1_000.0
_UNDER_WAY = ("queued", "processing")
_SITE = "https://a.klaviyo.com"


class Gone(KeyError):
    """An object that a request names does not exist."""


@dataclass
class Job:
    """An import: it ends at the look number ``looks``, or ``lasts_s`` after it was made."""

    lists: list[str]
    keys: list[str]
    failed: list[tuple[int, dict[str, Any]]]
    count: int
    looks: int
    ends_s: float | None = None
    is_cancelled: bool = False
    looked: int = 0
    has_ended: bool = False


@dataclass
class KlaviyoAccount:
    """An account with lists. What a test sets says how it answers."""

    lists: dict[str, set[str]]
    profiles: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    #: List -> its flows: name and status.
    flows: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    #: The look at which a job ends; None: ``job_s`` after it was made.
    looks: int | None = 3
    job_s: float = 1.0
    #: How many of the next jobs are cancelled.
    cancels: int = 0
    #: How many of the next jobs last ``STUCK_S``, longer than any client waits.
    stuck: int = 0
    #: Addresses that are refused, beside malformed ones, with the reason.
    refuses: dict[str, str] = field(default_factory=dict)
    #: Whether import errors hold the record, and whether their pointer names it.
    payloads: bool = True
    shown: Callable[[str], str] = str
    pointers: bool = False
    #: Whether an import with a wrong record is refused as a whole, at once.
    checks_at_once: bool = False
    #: The status of a request that names a list that is gone.
    gone: int = 404
    #: Whether look-ups are answered; else they are refused, with their filter in the answer.
    looks_up: bool = True
    #: Whether profiles can be added to a list by their ids.
    takes: bool = True
    page_cap: int = 100
    #: Of events that came together: whether their entry is marked as backfill, by ``unique_id``.
    entries: dict[str, bool] = field(default_factory=dict)
    _keys: dict[str, str] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def members(self, list_id: str) -> set[str]:
        """Return the addresses in a list."""
        return {self.profiles[each]["email"] for each in self.lists[list_id]}

    def properties(self) -> dict[str, dict[str, Any]]:
        """Return the properties of each profile by address."""
        return {each["email"]: each["properties"] for each in self.profiles.values()}

    # -- lists -----------------------------------------------------------------------------------------

    def _require(self, list_id: str) -> set[str]:
        if list_id not in self.lists:
            raise Gone(f"A list with id {list_id} does not exist")
        return self.lists[list_id]

    def list_of(self, list_id: str, query: Mapping[str, str]) -> dict[str, Any]:
        self._require(list_id)
        attributes = {"name": "Win-back", "created": None, "updated": None}
        data = {"type": "list", "id": list_id, "attributes": attributes, "links": _links("lists")}
        found: dict[str, Any] = {"data": data}
        if "include" in query:
            found["included"] = [_flow(*each) for each in self.flows.get(list_id, [])]
        return found

    def ids_of(self, list_id: str, query: Mapping[str, str]) -> dict[str, Any]:
        data = [{"type": "profile", "id": each} for each in sorted(self._require(list_id))]
        return self._page(data, "lists", query)

    def add(self, list_id: str, ids: Sequence[str]) -> tuple[int, Any]:
        found = self._require(list_id)
        if len(ids) > 1_000:
            raise Refused("", "more than 1,000 profiles")
        if (unknown := set(ids) - set(self.profiles)) or not self.takes:
            raise Refused("", f"unknown profiles {unknown}")
        found.update(ids)
        return 204, None

    def remove(self, list_id: str, ids: Sequence[str]) -> tuple[int, Any]:
        found = self._require(list_id)
        if len(ids) > 1_000:
            raise Refused("", "more than 1,000 profiles")
        found.difference_update(ids)
        return 204, None

    def found(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Answer a look-up of profiles by address or id."""
        one = _ANY.fullmatch(query["filter"])
        if one is None or not self.looks_up:
            raise Refused("filter", f"expected any(field,[…]), got {query['filter']}")
        values = json.loads(one[2])
        if len(values) > 100:
            raise Refused("filter", "more than 100 values")
        keys = values if one[1] == "id" else [self._keys.get(each, "") for each in values]
        data = [_profile(key, self.profiles[key]["email"]) for key in keys if key in self.profiles]
        return self._page(data, "profiles", query)

    # -- profiles --------------------------------------------------------------------------------------

    def upsert(self, attributes: Mapping[str, Any]) -> tuple[int, Any]:
        """Create or update one profile at once."""
        if (why := self._problem_of(attributes)) is not None:
            raise Refused("/data/attributes/email", why)
        is_new = attributes["email"] not in self._keys
        key = self._take(attributes)
        return 201 if is_new else 200, {"data": _profile(key, attributes["email"])}

    def _problem_of(self, attributes: Mapping[str, Any]) -> str | None:
        if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", attributes["email"]):
            return "Invalid email address"
        return self.refuses.get(attributes["email"])

    def _take(self, attributes: Mapping[str, Any]) -> str:
        email = attributes["email"]
        key = self._keys.setdefault(email, f"01P{next(self._numbers)}")
        profile = self.profiles.setdefault(key, {"email": email, "properties": {}})
        profile["properties"] |= attributes.get("properties", {})
        return key

    # -- imports ---------------------------------------------------------------------------------------

    def start_import(self, body: Any) -> tuple[int, Any]:
        profiles = body["data"]["attributes"]["profiles"]["data"]
        if not 0 < len(profiles) <= 10_000:
            raise Refused("", "expected 1 to 10,000 profiles")
        lists = [
            each["id"] for each in body["data"].get("relationships", {}).get("lists", {}).get("data", [])
        ]
        for each in lists:
            self._require(each)
        problems = [(number, self._problem_of(each["attributes"])) for number, each in enumerate(profiles)]
        failed = [(number, profiles[number]["attributes"]) for number, why in problems if why is not None]
        if failed and self.checks_at_once:
            number = failed[0][0]
            pointer = f"/data/attributes/profiles/data/{number}/attributes/email"
            raise Refused(pointer if self.pointers else "/data", str(problems[number][1]))
        wrong = {number for number, _ in failed}
        keys = [self._take(each["attributes"]) for n, each in enumerate(profiles) if n not in wrong]
        return 202, {"data": self._job(self.put_job(lists, keys, failed, len(profiles)))}

    def put_job(
        self, lists: list[str], keys: list[str], failed: Any = (), count: int = 0, *, looks: int | None = None
    ) -> str:
        """Add an import that is under way; return its id."""
        job = f"job-{len(self.jobs) + 1}"
        looks, lasts_s = looks or self.looks, self.job_s
        if self.stuck:
            self.stuck, looks, lasts_s = self.stuck - 1, None, STUCK_S
        ends_s = None if looks is not None else asyncio.get_running_loop().time() + lasts_s
        made = Job(lists, keys, [*failed], count, looks or 0, ends_s)
        if self.cancels:
            self.cancels -= 1
            made.is_cancelled = True
        self.jobs[job] = made
        return job

    def end_imports(self) -> None:
        """Let all imports end, as late as they may."""
        for job in self.jobs.values():
            self._end(job)

    def _end(self, job: Job) -> None:
        if not job.has_ended and not job.is_cancelled:
            for each in job.lists:
                self.lists.get(each, set()).update(job.keys)
        job.has_ended = True

    def open_jobs(self, query: Mapping[str, str]) -> dict[str, Any]:
        if query.get("filter") != 'any(status,["queued","processing"])':
            raise Refused("filter", f"unknown filter {query.get('filter')}")
        found = [self._job(job) for job, each in self.jobs.items() if not each.has_ended]
        data = [each for each in found if each["attributes"]["status"] in _UNDER_WAY]
        return self._page(data, "profile-bulk-import-jobs", query)

    def job_of(self, job: str, query: Mapping[str, str]) -> dict[str, Any]:
        if job not in self.jobs:
            raise Gone(job)
        data = self._job(job)
        if "include" in query:
            lists = [{"type": "list", "id": each} for each in self.jobs[job].lists]
            data["relationships"] = {"lists": {"data": lists}}
        return {"data": data}

    def _job(self, job: str) -> dict[str, Any]:
        """Look at a job: it ends when it is due, and adds its profiles to the lists."""
        found = self.jobs[job]
        found.looked += 1
        late = found.ends_s is not None and asyncio.get_running_loop().time() >= found.ends_s
        if late or (found.ends_s is None and found.looked >= found.looks):
            self._end(found)
        ended = "cancelled" if found.is_cancelled else "complete"
        status = ended if found.has_ended else _UNDER_WAY[min(found.looked, 2) - 1]
        attributes = {
            "status": status,
            "created_at": "2026-11-27T00:00:00+00:00",
            "total_count": found.count,
            "failed_count": len(found.failed) if status == "complete" else 0,
        }
        links = _links("profile-bulk-import-jobs")
        return {"type": "profile-bulk-import-job", "id": job, "attributes": attributes, "links": links}

    def errors_of(self, job: str, query: Mapping[str, str]) -> dict[str, Any]:
        data = []
        for number, record in self.jobs[job].failed:
            at = f"/data/attributes/profiles/data/{number}/attributes/email" if self.pointers else "/data"
            attributes = {
                "code": "invalid",
                "title": "Invalid input.",
                "detail": self._problem_of(record),
                "source": {"pointer": at},
                "original_payload": {**record, "email": self.shown(record["email"])}
                if self.payloads
                else None,
            }
            data.append({"type": "import-error", "id": str(number), "attributes": attributes})
        return self._page(data, "import-errors", query)

    def _page(self, data: list[Any], path: str, query: Mapping[str, str]) -> dict[str, Any]:
        """Return a page of at most ``page_cap`` items, and the link to the next one."""
        begin = int(query.get("page[cursor]", "c0")[1:])
        end = begin + min(int(query.get("page[size]", 20)), self.page_cap)
        links = _links(path)
        if end < len(data):
            links["next"] = f"{_SITE}/api/{path}?page%5Bcursor%5D=c{end}"
        return {"data": data[begin:end], "links": links}

    # -- events ----------------------------------------------------------------------------------------

    def record(self, attributes: Any) -> tuple[int, Any]:
        email = attributes["profile"]["data"]["attributes"]["email"]
        if (why := self.refuses.get(email)) is not None:
            raise Refused("/data/attributes/profile", why)
        self.events.setdefault(attributes["unique_id"], attributes)
        return 202, None

    def record_many(self, body: Any) -> tuple[int, Any]:
        entries = body["data"]["attributes"]["events-bulk-create"]["data"]
        events = [
            (one["attributes"], event) for one in entries for event in one["attributes"]["events"]["data"]
        ]
        if len(events) > 1_000:
            raise Refused("", "more than 1,000 events")
        if any(event["attributes"]["unique_id"] in self.events for _, event in events):
            raise Refused("unique_id", "is known already")
        for of, _ in events:
            if (why := self.refuses.get(of["profile"]["data"]["attributes"]["email"])) is not None:
                raise Refused("", why)
        for of, event in events:
            self.entries[event["attributes"]["unique_id"]] = of["backfill"]
            self.record({**event["attributes"], "profile": of["profile"]})
        return 202, None


def _links(path: str) -> dict[str, str]:
    return {"self": f"{_SITE}/api/{path}"}


def _profile(key: str, email: str) -> dict[str, Any]:
    return {"type": "profile", "id": key, "attributes": {"email": email}, "links": _links("profiles")}


def _flow(name: str, status: str) -> dict[str, Any]:
    attributes = {"name": name, "status": status.split()[-1], "archived": status.startswith("archived")}
    return {"type": "flow", "id": name, "attributes": attributes, "links": _links("flows")}
