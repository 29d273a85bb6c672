"""Consumer-group requests that aiokafka lacks: describe a group and remove static members.

They require brokers of version 2.4 or newer.
"""

from __future__ import annotations

from typing import Any, Final

from aiokafka.errors import NoError, UnknownMemberIdError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Bytes, Int16, Int32, Schema, String

_TEXT: Final = String("utf-8")
_MEMBER: Final = (("member_id", _TEXT), ("group_instance_id", _TEXT))


class _LeaveAnswer(Response):  # type: ignore[misc]
    API_KEY = 13
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("members", Array(*_MEMBER, ("error_code", Int16))),
    )


class _Leave(RequestStruct):  # type: ignore[misc]
    API_KEY = 13
    API_VERSION = 3
    RESPONSE_TYPE = _LeaveAnswer
    SCHEMA = Schema(("group", _TEXT), ("members", Array(*_MEMBER)))


class LeaveGroup(Request[_Leave]):  # type: ignore[misc]
    """Remove a member from its group, by ``member_id`` if given, else by static member name."""

    API_KEY = 13

    def __init__(self, group: str, instance_id: str | None, member_id: str = "") -> None:
        self._group = group
        self._member = (member_id, instance_id)

    def build(self, request_struct_class: type[_Leave]) -> _Leave:
        """Build the request for the wire."""
        return request_struct_class(self._group, [self._member])


def has_left(answer: Any) -> bool:
    """Return whether the request removed the member; False if the group has no such member.

    Raises KafkaError.
    """
    for code in (answer.error_code, *(member[-1] for member in answer.members)):
        error = for_code(code)
        if error is UnknownMemberIdError:
            return False
        if error is not NoError:
            raise error
    return True


class _DescribeAnswer(Response):  # type: ignore[misc]
    API_KEY = 15
    API_VERSION = 4
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "groups",
            Array(
                ("error_code", Int16),
                ("group", _TEXT),
                ("state", _TEXT),
                ("protocol_type", _TEXT),
                ("protocol", _TEXT),
                (
                    "members",
                    Array(
                        *_MEMBER,
                        ("client_id", _TEXT),
                        ("client_host", _TEXT),
                        ("metadata", Bytes),
                        ("assignment", Bytes),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
    )


class _Describe(RequestStruct):  # type: ignore[misc]
    API_KEY = 15
    API_VERSION = 4
    RESPONSE_TYPE = _DescribeAnswer
    SCHEMA = Schema(("groups", Array(_TEXT)), ("include_authorized_operations", Boolean))


class DescribeGroup(Request[_Describe]):  # type: ignore[misc]
    """Describe the state and the members of a group."""

    API_KEY = 15

    def __init__(self, group: str) -> None:
        self._group = group

    def build(self, request_struct_class: type[_Describe]) -> _Describe:
        """Build the request for the wire."""
        return request_struct_class([self._group], False)
