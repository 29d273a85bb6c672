"""The studio: a request in English becomes a rule that a reader can check, or a question, never a guess.

``README.md`` in this folder describes the steps, what is asked and what is refused.
"""

from segops.studio.amend import amend
from segops.studio.catalogue import StudioCatalogue
from segops.studio.proposal import Proposal, Span
from segops.studio.propose import propose
from segops.studio.synonyms import Synonyms

__all__ = ["Proposal", "Span", "StudioCatalogue", "Synonyms", "amend", "propose"]
