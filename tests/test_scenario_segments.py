"""Steps of scenarios publish and retire segments, as ``segops apply`` does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from segops.schemas.scenarios import load_scenarios
from segops.testing import run_scenario

from .test_scenarios import GUIDE, S0, A, issues_of, result_of, steps

NO_SEGMENTS = "expected a path relative to this file, or a list of segments"
NO_KEY = "expected at most 64 lower-case letters, digits and hyphens, such as vip-2"


def test_edit_raises_the_version_and_an_equal_segment_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    other = "{key: seen, when: {did: A, within: 2h}}"
    same = "{key: often, when: {did: A, count: {gte: 2}}}"
    path.write_text(steps(f"{{apply: [{other}, {same}]}}", f"{{apply: [{other}]}}", "{expect: {}}"))
    (scenario,) = load_scenarios([path])
    versions = [
        {each.key: each.version for each in step.segments.definitions} if step.segments else {}
        for step in scenario.steps
    ]
    assert versions == [{"often": 1, "seen": 2}] * 2 + [{}]


def test_segments_of_a_path_are_applied_and_the_others_stay(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("version: 1\nsegments:\n- {key: new, when: {did: A}}\n")
    text = steps(
        f"{{event: {A}, expect: {{entered: [seen]}}}}",
        "{apply: more.yaml, expect: {entered: [new]}, members: {ann: [new, seen]}}",
        "{retire: [new, seen], expect: {exited: [new, seen]}, members: {ann: []}}",
    )
    assert result_of(tmp_path, text).exit_code == 0


def test_example_of_the_guide_passes_and_needs_its_history(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```yaml\n([^`]*?^scenarios:[^`]*? apply: [^`]*?)^```", GUIDE, re.MULTILINE)
    path = tmp_path / "s.yaml"
    for text, passes in ((example, True), (example.replace("&order {", "&order {type: page, "), False)):
        path.write_text(text)
        assert [run_scenario(scenario).passed for scenario in load_scenarios([path])] == [passes]


@pytest.mark.parametrize(
    ("step", "issue"),
    [
        ("{apply: null}", f"5: {S0}.apply: {NO_SEGMENTS}"),
        ("{apply: []}", f"5: {S0}.apply: {NO_SEGMENTS}"),
        (
            "{apply: [{key: new, when: {did: A, within: 0d}}]}",
            f" {S0}.apply[0].when.within: expected a duration above 0, got '0d'",
        ),
        (
            "{apply: [{key: new, when: {in_segment: x}}]}",
            f"5: {S0}.apply: new.when: in_segment: unknown segment x",
        ),
        ("{apply: [{key: N, when: {did: A}}]}", f" {S0}.apply[0].key: {NO_KEY}"),
        ("{retire: []}", f"5: {S0}.retire: expected a non-empty list"),
        ("{retire: [sene]}", f"5: {S0}.retire: cannot retire 'sene': no such segment is published"),
        ("{retire: [seen], apply: x.yaml}", f"5: {S0}: expected either apply or retire"),
    ],
)
def test_error_in_the_segments_of_a_step_is_reported_with_line_and_path(
    tmp_path: Path, step: str, issue: str
) -> None:
    assert issues_of(tmp_path, steps(step, "{members: {}}")) == [issue]


@pytest.mark.parametrize(
    ("first", "second", "issue"),
    [
        (
            "{retire: [seen]}",
            "{apply: [{key: seen, when: {did: A}}]}",
            "apply: 'seen' was retired at version 1; a retired key cannot be reused",
        ),
        (
            "{apply: [{key: new, when: {in_segment: seen}}]}",
            "{retire: [seen]}",
            "retire: new.when: in_segment: unknown segment seen",
        ),
        ("{retire: [seen]}", "{expect: {exited: [seen]}}", "expect.exited[0]: unknown segment seen"),
    ],
)
def test_segments_published_by_earlier_steps_are_known(
    tmp_path: Path, first: str, second: str, issue: str
) -> None:
    found = issues_of(tmp_path, steps(first, second, "{members: {}}"))
    assert found == [f"6: scenarios[0].steps[1].{issue}"]
