"""The studio: a request in plain English becomes a rule that a reader can check, or a question, never a guess.

``README.md`` in this folder describes the steps, what is asked and what is refused.
"""
