"""The exceptions of ``test_words``: names with a word that a term of the glossary replaced elsewhere."""

from __future__ import annotations

_GROUP = "joining a consumer group is Kafka's own term"
_DISK = "the physical disk"
_TAIL = "the last lines of a log, as `tail` prints them"
_PLACES = "the key `places` of a segment file"
_RULE_PARTS = "the parts of a rule, `RulePart`, by the published key"

_FIGURES = "the values of a profile, as the rule language calls them"

#: Phrases with a meaning of their own -> what they mean.
IDIOMS: dict[str, str] = {
    "in_flight": "sent or being written, and not yet acknowledged",
    "in_place": "to change something where it is, or to move a finished folder to its name",
    "on_disk": "in files, not in memory",
}

#: File and name -> why the word is right there.
ALLOWED: dict[tuple[str, str], str] = {
    ("segops/studio/model/consulting.py", "outcome"): "the key of a model's answer, as of the studio's",
    ("segops/config/kafka.py", "told"): "the topic of what destinations were told",
    ("segops/streaming/lifecycle.py", "JoinTimer"): _GROUP,
    ("segops/streaming/faust/app.py", "joined"): _GROUP,
    ("segops/streaming/faust/consumer.py", "join_again"): _GROUP,
    ("segops/streaming/faust/consumer.py", "joined"): _GROUP,
    ("segops/streaming/lifecycle.py", "_joining"): _GROUP,
    ("segops/streaming/lifecycle.py", "waiting_to_join"): _GROUP,
    ("segops/streaming/lifecycle.py", "_waiting_to_join"): _GROUP,
    ("segops/streaming/liveness/watchers.py", "joined"): _GROUP,
    ("segops/operations/group.py", "for_joining"): _GROUP,
    ("tests/streaming/test_lifecycle.py", "joined"): _GROUP,
    ("tests/faults/disks.py", "disks"): _DISK,
    ("tests/faults/disks.py", "full_disk"): _DISK,
    ("tests/faults/soak.py", "_lose_disk"): _DISK,
    ("segops/brokers/process.py", "log_tail"): _TAIL,
    ("segops/processes/child.py", "_log_tail"): _TAIL,
    ("tests/faults/logs.py", "changelog_tail"): "the end of the changelog, not what reads it",
    ("segops/core/rules/execution/compiler.py", "_joined"): "expressions joined by `and` or `or`",
    ("tests/core/strategies.py", "join"): "rules joined by `all`, `any` or `not`",
    ("segops/core/views/explain.py", "parts"): _RULE_PARTS,
    ("tests/core/test_trace.py", "parts"): _RULE_PARTS,
    ("segops/schemas/segments.py", "places"): _PLACES,
    ("segops/api/scans.py", "places"): _PLACES,
    ("segops/mcp/drafts.py", "places"): _PLACES,
    (
        "segops/studio/catalogue.py",
        "places",
    ): "the named places of a deployment, as in the key `places` of a segment file",
    ("segops/studio/proposal.py", "outcome"): "rule, question or refuse, as in the answer's JSON",
    ("tests/bench/peers/ledger.py", "turn"): "a turn of the comparison, as in `make bench-peers TURNS=3`",
    ("segops/metrics.py", "events_mended"): "the attribute is called as its published metric",
    ("segops/core/rules/figures.py", "figures"): _FIGURES,
    ("segops/core/rules/parsing/figures.py", "figures"): _FIGURES,
    ("segops/core/rules/execution/figures.py", "figures"): _FIGURES,
    ("segops/core/rules/reference/figures.py", "figures"): _FIGURES,
    ("segops/schemas/written.py", "_Part"): "a part of a YAML document",
}

#: Terms of the delivery that were wrong words elsewhere: people are told of, and a message has an outcome.
OF_DELIVERY = frozenset(("tell", "told", "person", "outcome", "outcomes"))
#: Where they are its terms.
DELIVERY = ("console", "deliver", "destinations", "test_activate")
