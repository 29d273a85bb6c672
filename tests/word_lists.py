"""The exceptions of ``test_words``: names with a word that a term of the glossary replaced elsewhere."""

from __future__ import annotations

_GROUP = "joining a consumer group is Kafka's own term"
_DISK = "the physical disk"
_TAIL = "the last lines of a log, as `tail` prints them"

#: File and name -> why the word is right there.
ALLOWED: dict[tuple[str, str], str] = {
    ("segops/streaming/lifecycle.py", "JoinTimer"): _GROUP,
    ("segops/streaming/faust/app.py", "joined"): _GROUP,
    ("segops/streaming/faust/consumer.py", "join_again"): _GROUP,
    ("segops/operations/group.py", "for_joining"): _GROUP,
    ("tests/faults/disks.py", "disks"): _DISK,
    ("tests/faults/disks.py", "full_disk"): _DISK,
    ("tests/faults/soak.py", "_lose_disk"): _DISK,
    ("tests/streaming/test_restorer.py", "stores_on_disk"): _DISK,
    ("segops/brokers/process.py", "log_tail"): _TAIL,
    ("segops/demo/children.py", "_log_tail"): _TAIL,
    ("tests/faults/logs.py", "changelog_tail"): "the end of the changelog, not what reads it",
    ("segops/brokers/java.py", "_put_in_place"): "the idiom: to move a finished folder to its name",
    ("segops/core/rules/execution/compiler.py", "_joined"): "expressions joined by `and` or `or`",
    ("tests/core/strategies.py", "join"): "rules joined by `all`, `any` or `not`",
    ("tests/core/test_trace.py", "parts"): "the parts of a rule, `RulePart`",
    ("segops/schemas/written.py", "_Part"): "a part of a YAML document",
    ("tests/test_rest.py", "collected"): "pytest's own term for the tests that it found",
}

#: Names that are left to be renamed: this list only shrinks.
PENDING: frozenset[str] = frozenset(
    {
        "segops/brokers/jvm.py _place",
        "segops/cli/_lines.py place",
        "segops/core/features/inside.py inside",
        "segops/core/memberships.py _joined",
        "segops/core/rules/analysis/linter.py _parts",
        "segops/core/rules/parsing/scores.py _check_place",
        "segops/core/values.py parse_moment",
        "segops/core/views/explain.py _kept_feature",
        "segops/schemas/identifying.py describes_person",
        "segops/schemas/json_schema.py _parts",
        "segops/schemas/scenario_steps.py _moment",
        "segops/schemas/scenario_steps.py moment",
        "segops/schemas/segments.py written_place",
        "segops/streaming/durability/checkpoint.py _Part",
        "segops/streaming/lifecycle.py _kept_out",
        "tests/bench/peers/live.py _play",
        "tests/cli/test_refusals.py _is_told",
        "tests/core/test_identity.py person",
        "tests/core/test_profile_view.py person",
        "tests/demo/test_demo.py kept",
        "tests/streaming/test_changelog_reader.py tail_of",
        "tests/streaming/test_definitions.py outcome",
        "tests/streaming/test_quarantine.py float_in_place",
        "tests/streaming/test_recovery.py parts",
    }
)
