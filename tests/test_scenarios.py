"""The scenarios in this folder pass and can fail; the runner reports differences and invalid files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from segops.cli import cli
from segops.core.errors import DefinitionError, UserError
from segops.core.rules.model import Not, side
from segops.core.segments import SegmentSet
from segops.core.values import format_instant
from segops.schemas.scenarios import Scenario, load_scenarios
from segops.testing import run_scenario
from tests import command

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "segops/core/rules/README.md").read_text("utf-8")
SCENARIOS = load_scenarios([ROOT / "tests/scenarios"])

every_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: f"{s.file.stem}: {s.name}")


@every_scenario
def test_scenario_passes(scenario: Scenario) -> None:
    outcome = run_scenario(scenario)
    assert outcome.differences == ()
    assert outcome.passed
    assert outcome.step is scenario.steps[-1]


@every_scenario
def test_scenario_fails_on_inverted_rules(scenario: Scenario) -> None:
    assert not run_scenario(replace(inverted(scenario), steps=tuple(map(inverted, scenario.steps)))).passed


def inverted(of: Any) -> Any:
    """Return a scenario or a step with the opposite of its segments, if it has any."""
    known = () if of.segments is None else of.segments.definitions
    turned = [replace(d, when=Not(side(d.when, inside=False))) for d in known]
    return replace(of, segments=SegmentSet(turned) if turned else of.segments)


# -- the runner ----------------------------------------------------------------------------------------

SEGMENTS = (
    "segments: [{key: seen, when: {did: A, within: 1h}}, {key: often, when: {did: A, count: {gte: 2}}}]\n"
)
A = "{event: A, userId: ann}"


def steps(*written: str) -> str:
    return (
        SEGMENTS
        + "scenarios:\n  - name: one\n    steps:\n"
        + "".join(f"      - {step}\n" for step in written)
    )


def result_of(tmp_path: Path, text: str, *options: str) -> Result:
    path = tmp_path / "s.yaml"
    path.write_text(text, "utf-8")
    return CliRunner().invoke(cli, ["test", str(path), *options])


def issues_of(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "s.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(DefinitionError) as caught:
        load_scenarios([path])
    return [str(issue).removeprefix(f"{path}:") for issue in caught.value.issues]


def test_passing_scenarios_print_dots_and_exit_with_0(tmp_path: Path) -> None:
    result = result_of(
        tmp_path, steps(f"{{event: {A}, expect: {{entered: [seen]}}}}", "{at: +1h, expect: {exited: [seen]}}")
    )
    assert (result.exit_code, result.output) == (0, f"{tmp_path}/s.yaml .\n\n1 passed\n")


def test_failing_scenario_shows_the_difference_and_exits_with_1(tmp_path: Path) -> None:
    text = steps(
        f"{{event: {A}}}",
        "{at: +1h -1ms, expect: {exited: [seen]}, members: {ann: [often, seen], bob: []}}",
        "{at: +2h, expect: {entered: [often]}}",
    )
    result = result_of(tmp_path, text)
    assert result.exit_code == 1
    assert result.output == (
        f"{tmp_path}/s.yaml F\n\n"
        f"FAILED {tmp_path}/s.yaml:3: one\n"
        "  step 2 (line 6), clock at 2026-01-01T00:59:59.999Z\n"
        "  expect (- expected, + actual):\n"
        "    - exited  seen\n"
        "  members of user_id:ann (- expected, + actual):\n"
        "    - often\n"
        "      seen\n"
        "  members of user_id:bob (- expected, + actual):\n"
        "    + (no such profile yet)\n"
        "  changes before this step:\n"
        "    2026-01-01T00:00:00.000Z  entered seen  user_id:ann  event\n"
        "\n1 failed, 0 passed\n"
    )


@pytest.mark.parametrize(
    ("written", "actual"),
    [
        ("profile: bob", "profile=user_id:ann"),
        ("reason: time", "reason=event"),
        ("occurred_at: +1ms", "occurred_at=2026-01-01T00:00:00.000Z"),
        ("flips_at: null", "flips_at=2026-01-01T01:00:00.000Z"),
        ("flips_at: +1h -1ms", "flips_at=2026-01-01T01:00:00.000Z"),
        ("event_id: m1", "event_id=none"),
    ],
)
def test_every_written_field_of_a_change_is_compared(tmp_path: Path, written: str, actual: str) -> None:
    wanted, found = changes_of(tmp_path, f"[{{action: entered, segment: seen, {written}}}]")
    name = written.split(":")[0]
    assert wanted.startswith(f"- entered seen {name}=")
    assert found == f"+ entered seen {actual}"


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        ("[]", ["+ entered seen profile=user_id:ann reason=event occurred_at=2026-01-01T00:00:00.000Z"]),
        ("[{action: exited, segment: seen}]", ["- exited  seen", "+ entered seen"]),
        ("[{action: entered, segment: often}]", ["- entered often", "+ entered seen"]),
        (
            "[{action: entered, segment: seen}, {action: entered, segment: often}]",
            ["  entered seen", "- entered often"],
        ),
    ],
)
def test_list_of_changes_must_be_complete(tmp_path: Path, written: str, lines: list[str]) -> None:
    assert changes_of(tmp_path, written) == lines


def changes_of(tmp_path: Path, written: str) -> list[str]:
    path = tmp_path / "s.yaml"
    path.write_text(steps(f"{{event: {A}, changes: {written}}}"))
    (difference,) = run_scenario(load_scenarios([path])[0]).differences
    return list(difference.lines)


def test_change_that_matches_in_every_field_passes(tmp_path: Path) -> None:
    identity = "action: entered, segment: seen, profile: ann, reason: event, event_id: m1"
    event = "{event: A, userId: ann, messageId: m1}"
    text = steps(f"{{event: {event}, changes: [{{{identity}, occurred_at: +0s, flips_at: +1h}}]}}")
    assert result_of(tmp_path, text).exit_code == 0


def test_rule_that_fails_to_evaluate_fails_the_scenario(tmp_path: Path) -> None:
    def broken(_profile: Any, _now_ms: int) -> bool:
        raise ZeroDivisionError

    path = tmp_path / "s.yaml"
    path.write_text(steps(f"{{event: {A}, members: {{ann: []}}}}"))
    (scenario,) = load_scenarios([path])
    scenario.segments.segments = tuple(
        replace(segment, rule=replace(segment.rule, holds=broken)) for segment in scenario.segments.segments
    )
    (difference,) = run_scenario(scenario).differences
    assert difference.title.startswith("rules that failed")
    assert difference.lines == ("+ 2",)


def test_event_can_be_defined_once_and_varied(tmp_path: Path) -> None:
    text = steps(
        "{event: &a {event: A, userId: ann}}",
        "{event: {<<: *a, userId: bob}, expect: {entered: [seen]}, members: {bob: [seen]}}",
    )
    assert result_of(tmp_path, text).exit_code == 0


def test_changes_of_several_profiles_are_counted_separately(tmp_path: Path) -> None:
    both = "[{event: A, userId: ann}, {event: A, anonymousId: x}]"
    text = steps(f"{{events: {both}, expect: {{entered: [seen]}}}}")
    assert "+ entered seen" in result_of(tmp_path, text).output
    text = steps(
        f"{{events: {both}, expect: {{entered: [seen, seen]}}, members: {{'anonymous_id:x': [seen]}}}}"
    )
    assert result_of(tmp_path, text).exit_code == 0


@pytest.mark.parametrize(
    ("start", "first", "instant"),
    [
        ("", "event: {event: A, userId: ann}", "2026-01-01T00:00:00.000Z"),
        ("", "at: 2020-02-02", "2020-02-02T00:00:00.000Z"),
        ("", "event: {event: A, userId: ann, timestamp: 2020-02-02}", "2020-02-02T00:00:00.000Z"),
        ("", "at: +1d", "2026-01-02T00:00:00.000Z"),
        ("start: 2020-02-02 -1ms", "at: +1d + 2ms", "2020-02-03T00:00:00.001Z"),
        ("start: 2020-02-02", "event: {event: A, userId: ann, timestamp: +1s}", "2020-02-02T00:00:01.000Z"),
        ("start: 2020-02-02", "event: {event: A, userId: ann, timestamp: -1s}", "2020-02-02T00:00:00.000Z"),
        (
            "start: 2020-02-02",
            "event: {event: A, userId: ann, timestamp: 2019-01-01}",
            "2020-02-02T00:00:00.000Z",
        ),
    ],
)
def test_initial_clock(tmp_path: Path, start: str, first: str, instant: str) -> None:
    path = tmp_path / "s.yaml"
    text = steps(f"{{{first}}}", "{expect: {}}")
    path.write_text(text.replace("name: one", f"name: one\n    {start}"))
    assert format_instant(run_scenario(load_scenarios([path])[0]).clock_ms) == instant


def test_match_selects_scenarios_and_verbose_names_them(tmp_path: Path) -> None:
    text = steps(f"{{event: {A}, expect: {{entered: [seen]}}}}")
    text += f"  - name: Two\n    steps: [{{event: {A}, expect: {{}}}}]\n"
    result = result_of(tmp_path, text, "--match", "two", "--verbose")
    assert result.exit_code == 1
    assert result.output.startswith(f"FAILED  {tmp_path}/s.yaml:6: Two\n\nFAILED ")
    assert result.output.endswith("1 failed, 0 passed\n")
    result = result_of(tmp_path, text, "--match", "ONE", "--verbose")
    assert (result.exit_code, result.output) == (0, f"passed  {tmp_path}/s.yaml:3: one\n\n1 passed\n")
    assert isinstance(result_of(tmp_path, text, "--match", "three").exception, UserError)


# -- errors --------------------------------------------------------------------------------------------

NO_INSTANT = "expected an instant, such as 2026-01-31T00:00:00Z or +1h from the start, got"
S0 = "scenarios[0].steps[0]"
CHANGE = "action: entered, segment: seen"


@pytest.mark.parametrize(
    ("step", "issue"),
    [
        ("{expct: {}}", f"5: {S0}.expct: unknown key"),
        ("{}", f"5: {S0}: expected a step with at least one key"),
        ("{at: 60}", f"5: {S0}.at: expected a string, got 60"),
        (
            "{at: soon}",
            f"5: {S0}.at: {NO_INSTANT} 'soon'",
        ),
        ("{at: ''}", f"5: {S0}.at: {NO_INSTANT} ''"),
        ("{at: +9999999d}", f"5: {S0}.at: expected an instant in the years 1 to 9999, got '+9999999d'"),
        (
            "{at: -1ms}",
            f"5: {S0}.at: expected an instant not before the clock, which is at 2026-01-01T00:00:00.000Z",
        ),
        ("{expect: null}", f"5: {S0}.expect: expected a map, got None"),
        ("{expect: {enterd: []}}", f"5: {S0}.expect.enterd: unknown key"),
        ("{expect: {entered: [sene]}}", f"5: {S0}.expect.entered[0]: unknown segment sene"),
        ("{members: {ann: [sene]}}", f"5: {S0}.members.ann[0]: unknown segment sene"),
        (
            "{changes: [{action: entered, segment: sene}]}",
            f"5: {S0}.changes[0].segment: unknown segment sene",
        ),
        (
            "{changes: [{action: enter, segment: seen}]}",
            f"5: {S0}.changes[0].action: expected 'entered' or 'exited', got 'enter'",
        ),
        ("{changes: [{action: entered}]}", f"5: {S0}.changes[0].segment: missing key"),
        (
            f"{{changes: [{{{CHANGE}, flips_at: soon}}]}}",
            f"5: {S0}.changes[0].flips_at: {NO_INSTANT} 'soon'",
        ),
        (
            "{event: {event: A}}",
            f"5: {S0}.event: invalid event: no_identifier: neither userId nor anonymousId nor an email",
        ),
        ("{event: {userId: ann}}", f"5: {S0}.event: invalid event: no_name: a track call names no event"),
        (
            "{event: {event: A, userId: ann, user: x}}",
            f"5: {S0}.event.user: unknown event field",
        ),
        (
            "{event: {event: A, userId: ann, timestamp: soon}}",
            f"5: {S0}.event.timestamp: {NO_INSTANT} 'soon'",
        ),
        ("{events: []}", f"5: {S0}.events: expected a non-empty list"),
        (f"{{event: {A}, events: [{A}]}}", f"5: {S0}: expected either event or events"),
    ],
)
def test_error_in_a_step_is_reported_with_line_and_path(tmp_path: Path, step: str, issue: str) -> None:
    assert issues_of(tmp_path, steps(step, "{members: {}}")) == [issue]


ONE = f"scenarios: [{{name: one, steps: [{{event: {A}, expect: {{}}}}]}}]\n"


@pytest.mark.parametrize(
    ("text", "issues"),
    [
        (ONE, ["1: segments: missing key"]),
        ("", ["1: -: expected a map, got None"]),
        (
            "a: [",
            [
                " line 2, column 1: did not find expected node content "
                "(while parsing a flow node, starting at line 2)"
            ],
        ),
        (
            f"segments: 1\n{ONE}",
            ["1: segments: expected a path relative to this file, or a list of segments"],
        ),
        (
            f"segments: []\n{ONE}",
            ["1: segments: expected a path relative to this file, or a list of segments"],
        ),
        (
            f"segments:\n- {{key: a, when: {{did: A, within: 0d}}}}\n{ONE}",
            [" segments[0].when.within: expected a duration above 0, got '0d'"],
        ),
        (
            f"{SEGMENTS}scenarios: []\n",
            ["2: scenarios: expected a non-empty list"],
        ),
        (
            f"{SEGMENTS}scenarios:\n- {{name: one, steps: []}}\n",
            ["3: scenarios[0].steps: expected a non-empty list"],
        ),
        (
            f"{SEGMENTS}scenarios:\n- {{name: one, steps: [{{event: {A}}}]}}\n",
            ["3: scenarios[0]: missing checks: no step has expect, changes or members"],
        ),
        (
            f"{SEGMENTS}scenarios:\n- {{name: one, start: +1h, steps: [{{expect: {{}}}}]}}\n",
            [f"3: scenarios[0].start: {NO_INSTANT} '+1h'"],
        ),
        (
            f"{SEGMENTS}scenarios:\n- &one\n  name: one\n  steps: [{{expect: {{}}}}]\n- *one\n",
            ["4: scenarios[1].name: duplicate name 'one'"],
        ),
    ],
)
def test_error_in_a_file_is_reported_with_line_and_path(tmp_path: Path, text: str, issues: list[str]) -> None:
    assert issues_of(tmp_path, text) == issues


def test_errors_of_all_files_are_reported_and_nothing_runs(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(SEGMENTS + ONE)
    (tmp_path / "bad.yaml").write_text(steps("{at: x}", "{at: y}", "{expect: {}}"))
    (tmp_path / "odd.yml").write_text(SEGMENTS + "scenario: []\n")
    result = CliRunner().invoke(cli, ["test", str(tmp_path)])
    assert result.output == ""
    assert isinstance(result.exception, DefinitionError)
    assert [str(issue).split(": ")[1] for issue in result.exception.issues] == [
        "scenarios[0].steps[0].at",
        "scenarios[0].steps[1].at",
        "scenarios",
        "scenario",
    ]


def test_error_in_a_referenced_segment_file_is_reported_there(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules/a.yaml").write_text("version: 1\nsegments:\n- {key: a, when: {all: []}}\n")
    (tmp_path / "s.yaml").write_text(f"segments: rules\n{ONE}")
    with pytest.raises(DefinitionError, match=r"rules/a\.yaml: segments\[0\]\.when\.all: "):
        load_scenarios([tmp_path / "s.yaml"])
    (tmp_path / "s.yaml").write_text(f"segments: ../nowhere\n{ONE}")
    with pytest.raises(DefinitionError, match=r"s\.yaml:1: segments: .*nowhere: no such file or folder"):
        load_scenarios([tmp_path / "s.yaml"])


def test_path_without_scenarios_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no scenario files"):
        load_scenarios([tmp_path])
    with pytest.raises(UserError, match="no such file or folder"):
        load_scenarios([tmp_path / "nowhere.yaml"])


def test_user_error_exits_with_2_and_no_traceback(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(steps("{at: soon, expect: {}}"))
    done = command.run("test", path)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"{path}:5: scenarios[0].steps[0].at: expected an instant")
    assert done.err.count("\n") == 1


# -- the guide -----------------------------------------------------------------------------------------


def test_example_of_the_guide_prints_the_output_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    segments, *_ = re.findall(r"^```yaml\n(version: 1\n.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
    ((name, example),) = re.findall(r"<!-- file: (\S+) -->\n```yaml\n(.*?)```", GUIDE, re.DOTALL)
    Path("segments.yaml").write_text(segments)
    Path(name).parent.mkdir()
    Path(name).write_text(example)
    ((arguments, shown),) = re.findall(
        r"<!-- run -->\n```console\n\$ segops (.*?)\n(.*?)```", GUIDE, re.DOTALL
    )
    result = CliRunner().invoke(cli, arguments.split())
    assert (result.exit_code, result.output) == (1, shown)
