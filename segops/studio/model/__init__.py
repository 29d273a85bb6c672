"""A second reading of a request by a language model, within bounds (ADR 0051).

The model sees the request, the catalogue and the language, never profiles or values of persons. Its answer is
held to the same checks as any rule; it can confirm the parser's rule or cause a question, nothing else.
"""

from segops.studio.model.consulting import Consultant
from segops.studio.model.service import Service

__all__ = ["Consultant", "Service"]
