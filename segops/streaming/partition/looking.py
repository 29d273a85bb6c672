"""What the HTTP server shows of a live profile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from segops.core.engine import Engine
from segops.core.profile import Profile
from segops.core.views.profile import ProfileView, view_profile
from segops.schemas.sandbox import SandboxStart
from segops.schemas.state import encode_profile

_T = TypeVar("_T")

#: Makes a view of a live profile, which it does not change: by the engine in force, at the partition's clock,
#: knowing the features of which no profile knows earlier events.
View = Callable[[Engine, Profile, int, Mapping[int, int]], _T]


def profile_view(engine: Engine, profile: Profile, now_ms: int, since: Mapping[int, int]) -> ProfileView:
    """Return the profile as people read it."""
    return view_profile(engine.segments, profile, now_ms, since)


def sandbox_start(engine: Engine, profile: Profile, now_ms: int, since: Mapping[int, int]) -> SandboxStart:
    """Return where a sandbox of the profile begins."""
    return SandboxStart(engine, encode_profile(profile), now_ms, since)
