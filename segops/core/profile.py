"""A profile: everything that is kept about one customer. (Skeleton.)"""

from __future__ import annotations

import msgspec


class Profile(msgspec.Struct, array_like=True):
    id: str
    sequence: int = 0              # membership changes so far
    applied: int = -1              # offset in segops.profile-events applied last (set by the shell)
    judged_by: str = ""            # Engine.version that judged it last
    due_ms: int | None = None      # earliest instant at which a membership changes if nothing happens
