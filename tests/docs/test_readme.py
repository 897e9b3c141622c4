"""What the README promises is there: files, links, options of commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = sorted(set(re.findall(r"(?:python )?(tools/[\w/]+\.py)([^`\n#|]*)", README)))


def test_links_and_named_files_exist():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    named = re.findall(r"\b((?:configs|tools|docs|mscmreid|tests)/[\w/]+\.(?:py|sh|md|jpg))\b", README)
    assert len(links) > 5 and len(named) > 10
    assert [path for path in [*links, *named] if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(("script", "options"), COMMANDS, ids=[script for script, _ in COMMANDS])
def test_options_of_commands_exist(script, options):
    shared = (ROOT / "mscmreid/command_line.py", ROOT / "mscmreid/apis/feature_options.py")
    source = "".join(path.read_text() for path in (ROOT / script, *shared))
    for option in re.findall(r"--[a-z][\w-]+", options):
        assert f'"{option}"' in source, f"{script} has no {option}"


def test_the_two_commands_are_the_ones_that_integration_runs():
    assert "bash tools/run_tests.sh" in README
    assert "bash tools/run_tests.sh" in (ROOT / ".ci/run").read_text()


def test_no_placeholder_is_left():
    assert not re.search(r"QS_\w+|TODO|XXX", README)
