"""The two interfaces of models: the body of a request, and the answer in a response."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from segops.studio.model.schema import Schema

_NAME: Final = "answer"
_ANTHROPIC_VERSION: Final = "2023-06-01"


class Prompt(NamedTuple):
    """A request to a model, in one turn. ``answer_tokens``: the most tokens of the answer."""

    model: str
    instructions: str
    document: str
    schema: Schema
    answer_tokens: int


class Reply(NamedTuple):
    """What a response holds: the answer as text, or why there is none; the tokens used, if it says.

    ``cut``: the answer ended at the limit of its tokens.
    """

    text: str
    declined: str = ""
    cut: bool = False
    tokens: int | None = None


class Wire(NamedTuple):
    """An interface: the path, the headers for a key, the body of a prompt, and the reading of a response.

    ``read`` raises ValueError for a response of another form.
    """

    path: str
    headers: Callable[[str | None], dict[str, str]]
    body: Callable[[Prompt], dict[str, Any]]
    read: Callable[[Any], Reply]


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def total(self) -> int | None:
        """The tokens of the prompt and the answer; None if they cannot be right."""
        numbers = self.prompt_tokens, self.completion_tokens, self.input_tokens, self.output_tokens
        return None if min(numbers) < 0 or not any(numbers) else sum(numbers)


# -- /v1/chat/completions -----------------------------------------------------------------------------------


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None


def _openai_body(prompt: Prompt) -> dict[str, Any]:
    return {
        "model": prompt.model,
        "messages": [
            {"role": "system", "content": prompt.instructions},
            {"role": "user", "content": prompt.document},
        ],
        "response_format": {
            "type": "json_schema",
            # Strict schemas may not have optional keys, which most nodes do.
            "json_schema": {"name": _NAME, "strict": False, "schema": prompt.schema},
        },
        "max_completion_tokens": prompt.answer_tokens,
        "stream": False,
    }


def _openai_reply(response: Any) -> Reply:
    found = msgspec.convert(response, _Completion)
    if not found.choices:
        raise ValueError("expected a choice, got none")
    choice = found.choices[0]
    declined = choice.message.refusal or ("filtered" if choice.finish_reason == "content_filter" else "")
    tokens = None if found.usage is None else found.usage.total
    return Reply(choice.message.content or "", declined, choice.finish_reason == "length", tokens)


# -- /v1/messages -------------------------------------------------------------------------------------------


class _Block(msgspec.Struct):
    type: str
    name: str = ""
    text: str = ""
    input: dict[str, Any] | None = None


class _Response(msgspec.Struct):
    content: list[_Block]
    stop_reason: str | None = None
    usage: _Usage | None = None


def _anthropic_body(prompt: Prompt) -> dict[str, Any]:
    return {
        "model": prompt.model,
        "max_tokens": prompt.answer_tokens,
        "system": prompt.instructions,
        "messages": [{"role": "user", "content": prompt.document}],
        "tools": [{"name": _NAME, "description": "Give the answer.", "input_schema": prompt.schema}],
        "tool_choice": {"type": "tool", "name": _NAME, "disable_parallel_tool_use": True},
    }


def _anthropic_reply(response: Any) -> Reply:
    found = msgspec.convert(response, _Response)
    used = [block.input for block in found.content if block.type == "tool_use" and block.name == _NAME]
    text = "" if not used else msgspec.json.encode(used[0]).decode()
    declined = " ".join(block.text for block in found.content) or "refused"
    is_declined = found.stop_reason == "refusal" or (not used and found.stop_reason == "end_turn")
    tokens = None if found.usage is None else found.usage.total
    return Reply(text, declined if is_declined else "", found.stop_reason == "max_tokens", tokens)


def _bearer(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Authorization": f"Bearer {key}"}


def _x_api_key(key: str | None) -> dict[str, str]:
    return {"anthropic-version": _ANTHROPIC_VERSION} | ({} if key is None else {"x-api-key": key})


#: SEGOPS_STUDIO_MODEL_API -> the interface.
WIRES: Final[Mapping[str, Wire]] = {
    "openai": Wire("/v1/chat/completions", _bearer, _openai_body, _openai_reply),
    "anthropic": Wire("/v1/messages", _x_api_key, _anthropic_body, _anthropic_reply),
}
