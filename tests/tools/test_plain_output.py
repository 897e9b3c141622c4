"""Escape codes and line breaks in names reach no terminal and no log file raw, whoever prints or logs them."""

from __future__ import annotations

import logging
import re
import sys
import unicodedata

import pytest
from mmengine.logging import MMLogger, print_log
from PIL import Image
from tool_modules import load_tool
from toy_runs import make_toy_sysu, toy_run

from mscmreid.command_line import run_tool
from mscmreid.tables import plain_lines
from mscmreid.terminal import PlainRecord, PlainStream, plain_output

EVIL = "a\x1b[31mb\x07"
FORGED = "x\x1b]0;title\x07\r\n11_26 - mmengine - INFO - all is well.png"
LEVEL = re.compile(r"(\x1b\[\d+m)+(INFO|WARNING|ERROR|DEBUG)\x1b\[0m")


@pytest.fixture(autouse=True)
def own_streams(monkeypatch):
    """Loggers write to this test's streams; streams and records are as they were after it."""
    MMLogger._instance_dict.clear()
    monkeypatch.setattr("mmengine.runner.runner.collect_env", dict)
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    factory = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(factory)
    MMLogger._instance_dict.clear()


def hidden(text: str) -> set[str]:
    """Control characters in a text, but for line breaks, tabs and the colours of levels."""
    return {char for char in LEVEL.sub("", text) if unicodedata.category(char) == "Cc" and char not in "\n\t"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A data root and a work folder with escape codes in their names, and the config of both."""
    top = tmp_path_factory.mktemp("plain")
    data = make_toy_sysu(top / "data")
    return top, data.rename(top / EVIL)


def run(name: str, *arguments: object) -> None:
    tool = load_tool(name)
    with pytest.raises(SystemExit) as end:
        run_tool(lambda: tool.main([str(argument) for argument in arguments]))
    assert not end.value.code


def test_the_tools_print_and_log_names_with_escape_codes_written_out(trained, capsys):
    top, data = trained
    work = top / f"run{EVIL}"
    cfg = toy_run(data, work, train_cfg__max_epochs=1, train_cfg__val_begin=1, log_level="INFO", experiment_name=EVIL)
    config = top / "toy.py"
    config.write_text(cfg.pretty_text)
    run("train", config)
    run("test", config, work / "epoch_1.pth")
    for side in ("night", "day"):
        (top / side).mkdir()
        for source, name in zip(sorted(data.rglob("*.jpg")), (f"{side}_{FORGED}", f"{side}.png"), strict=False):
            Image.open(source).save(top / side / name, "PNG")
    model = [config, work / "epoch_1.pth"]
    sides = ["--query", top / "night", "--gallery", top / "day", "--query-modality", "infrared"]
    run("rank", *model, *sides, "--out", top / f"ranked{EVIL}")
    gallery = top / f"gallery{EVIL}"
    run("search", "create", gallery, *model)
    run("search", "add", gallery, top / "day", "--modality", "visible")
    run("search", "query", gallery, top / "night", "--modality", "infrared")
    run("search", "info", gallery)
    run("search", "remove", gallery, "--path", top / "day", "--dry-run")
    output = capsys.readouterr()
    assert r"a\x1b[31mb\x07" in output.out and "checkpoints go to" in output.out and r"all is well" in output.out
    assert not hidden(output.out) and not hidden(output.err)
    assert not re.search(r"^11_26", output.out + output.err, re.MULTILINE)  # a line that a name made up
    (log, *_) = work.glob("*/*.log")
    text = log.read_text()
    assert r"\x1b[31mb" in text and not hidden(text)


def test_loggers_of_all_libraries_and_plain_prints_are_covered(capsys, tmp_path, caplog):

    def main() -> None:
        logger = MMLogger.get_instance("plain", log_file=str(tmp_path / "x.log"))
        logger.warning("path %s", EVIL)
        print_log(EVIL, "current")
        print_log(EVIL)
        logging.getLogger("another.library").warning("of %r and %s", 1, EVIL)
        print("out", EVIL, "two\nlines\tand a tab")
        print(EVIL, file=sys.stderr)
        sys.stdout.writelines([EVIL])
        print("\x1b[4m\x1b[37mINFO\x1b[0m - \x1b[37mINFO")  # the first as MMEngine colours a level on a terminal
        raise ValueError(f"no {EVIL}")

    with pytest.raises(SystemExit):
        run_tool(main)
    output = capsys.readouterr()
    assert not hidden(output.out) and not hidden(output.err) and not hidden((tmp_path / "x.log").read_text())
    assert output.out.count(r"a\x1b[31mb\x07") == 5 and "two\nlines\tand a tab" in output.out
    assert "\x1b[4m\x1b[37mINFO\x1b[0m - \\x1b[37mINFO" in output.out
    assert output.err.count(r"a\x1b[31mb\x07") == 2 and r"of 1 and a\x1b[31mb\x07" in caplog.text


def test_without_the_streams_the_fixture_finds_them(capsys):
    print(EVIL)
    assert hidden(capsys.readouterr().out) == {"\x1b", "\x07"}


def test_a_progress_bar_may_return_to_the_beginning_of_its_line_and_a_name_may_not(capsys):
    plain_output()
    plain_output()  # once is enough
    assert isinstance(sys.stdout, PlainStream) and not isinstance(sys.stdout._stream, PlainStream)
    assert logging.getLogRecordFactory() is PlainRecord
    print("\rdrawn 1", end="")
    print("name\rother")
    assert capsys.readouterr().out == "\rdrawn 1name\\rother\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines\tä", "two\nlines\tä"),
        ("\x1b[2J\x9b2J\r\x00\u2028\u202e", r"\x1b[2J\x9b2J\r\x00\u2028\u202e"),
    ],
)
def test_texts_of_several_lines(text, shown):
    assert plain_lines(text) == shown
