"""The page about the read API matches the code: its example of sites, and every reason for a refusal."""

from __future__ import annotations

import re
from pathlib import Path

from segops.config import load
from segops.serve import server
from segops.serve.keys import load_keys

PAGE = (Path(__file__).parents[2] / "segops/serve.md").read_text("utf-8")


def test_the_example_of_sites_is_valid(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, flags=re.S | re.M)
    file = tmp_path / "sites.yaml"
    file.write_text(block)
    given = dict(re.findall(r"export SEGOPS_SERVE_(KEYS|SECRET_KEYS)=(\S+)", PAGE))
    settings = load(
        serve={"keys": given["KEYS"], "secret_keys": given["SECRET_KEYS"], "sites_file": file}
    ).serve
    assert load_keys(settings, now_s=0.0).clients == ["server backend", "site shop"]


def test_every_reason_for_a_refusal_is_explained() -> None:
    source = Path(server.__file__).read_text("utf-8")
    codes = set(re.findall(r'RequestRefused\(\s*\d+, "(\w+)"', source))
    rows = [line for line in PAGE.splitlines() if re.match(r"\| \d{3} ", line)]
    written = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[2])}
    assert codes - {"internal"} == written
