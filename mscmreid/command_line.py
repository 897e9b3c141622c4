"""What all tools share: their options, how a mistake and a signal are told, and the command ``mscmreid TOOL ...``.

Nothing heavy is imported here, so that an interruption while a tool is still importing is told as well.
"""

from __future__ import annotations

import argparse
import ast
import atexit
import os
import runpy
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from mscmreid.interruption import end_of, kept_when_interrupted, listen, stderr_line
from mscmreid.option_values import read_value
from mscmreid.resources import shipped
from mscmreid.tables import plain
from mscmreid.terminal import plain_output

HEAD_START = 5.0
"""Seconds that the other processes of a run leave to the first to tell what they all found."""


class ToolAction(argparse.Action):
    """An option that does more than keep its value: ``act`` does it; its ValueError is told as the option's."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Called by argparse."""
        try:
            self.act(namespace, values)
        except ValueError as error:
            raise argparse.ArgumentError(self, str(error)) from error

    def act(self, namespace: argparse.Namespace, values: Any) -> None:
        """Do it; ``values`` are what stands behind the option."""
        raise NotImplementedError


def set_options(namespace: argparse.Namespace, options: Mapping[str, Any], texts: Sequence[str], name: str) -> None:
    """Add options of a config, and the ``KEY=VALUE`` they are written as, to what earlier arguments said."""
    setattr(namespace, name, {**(getattr(namespace, name, None) or {}), **options})
    setattr(namespace, f"{name}_texts", [*(getattr(namespace, f"{name}_texts", None) or []), *texts])


class ConfigOptions(ToolAction):
    """``KEY=VALUE ...`` as a dict (:func:`mscmreid.option_values.read_value`); ``DEST_texts`` keeps the texts."""

    def act(self, namespace: argparse.Namespace, values: Any) -> None:
        """Read them."""
        parsed = {}
        for text in values:
            key, equals, value = text.partition("=")
            if not equals or not key:
                raise ValueError(f"expected KEY=VALUE, found {text!r}")
            try:
                parsed[key] = read_value(value)
            except ValueError as error:
                raise ValueError(
                    f"{key}: cannot read {value!r}: {error}. One option of a dict is set as {key}.OPTION=VALUE, more "
                    f"in a config with _base_ and the difference; a text with brackets or commas goes into quotes of "
                    f"its own: \"{key}='...'\""
                ) from error
        set_options(namespace, parsed, values, self.dest)


class LocalRank(ToolAction):
    """Hand a launcher's ``--local-rank`` on as LOCAL_RANK, unless the environment says it."""

    def act(self, namespace: argparse.Namespace, values: Any) -> None:
        """Set the variable."""
        os.environ.setdefault("LOCAL_RANK", str(values))
        setattr(namespace, self.dest, values)


def device(text: str) -> str:
    """A device that this machine has, for argparse."""
    import torch

    try:
        torch.empty(0, device=text)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be used: {str(error).splitlines()[0]}") from error
    return text


def out_file(*endings: str) -> Callable[[str], Path]:
    """A file to write, for argparse: what cannot be written is told before hours of work, not after them.

    Args:
        endings: that its name may have, such as '.json'.
    """

    def checked(text: str) -> Path:
        path = Path(text)
        if path.suffix not in endings:
            raise argparse.ArgumentTypeError(f"its name must end in {' or '.join(endings)}, found {text!r}")
        if path.is_dir():
            raise argparse.ArgumentTypeError(f"{text!r} is a folder")
        there = next(folder for folder in path.absolute().parents if folder.exists())
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            raise argparse.ArgumentTypeError(f"{text!r} cannot be written: nothing can be made in {str(there)!r}")
        return path

    return checked


OPTIONS: dict[str, dict[str, Any]] = {
    "--cfg-options": dict(
        nargs="+", action=ConfigOptions, default={}, metavar="KEY=VALUE", help="change options of the config"
    ),
    "--work-dir": dict(metavar="DIR", help="folder to write to (default: work_dirs/NAME_OF_CONFIG)"),
    "--launcher": dict(default="none", choices=["none", "pytorch", "slurm", "mpi"], help="default: none"),
    "--local-rank": dict(type=int, default=0, action=LocalRank, help="set by some launchers"),
    "--rerank": dict(action="store_true", help="add k-reciprocal re-ranked rows"),
    "--flip": dict(action="store_true", help="add the features of the mirrored images"),
    "--precision": dict(
        choices=["float32", "tf32", "mixed", "bfloat16", "float16"],
        help="of the forward pass (default: the config's); tf32: float32 with an NVIDIA GPU's shorter products; mixed: "
        "bfloat16, but float32 where its rounding shows",
    ),
    "--device": dict(type=device, help="default: the GPU if there is one, else the CPU"),
    "--debug": dict(action="store_true", help="show the traceback of an error"),
}
"""Options that mean the same in every tool that has them."""


def add_options(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add some of :data:`OPTIONS`."""
    for name in names:
        other_spellings = ["--local_rank"] if name == "--local-rank" else []  # torch.distributed.launch has both
        parser.add_argument(name, *other_spellings, **OPTIONS[name])


def tool_parser(description: str | None, *names: str) -> argparse.ArgumentParser:
    """A tool's parser, with ``--debug`` and those of :data:`OPTIONS` that are named."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, *names, "--debug")
    return parser


def is_mistake(error: BaseException) -> bool:
    """Whether an exception tells of the user's files, options or config, not of a bug in the code.

    These are ValueError and OSError, a package that is not installed, and what MMEngine raises itself over a config:
    a name that no registry knows, an option that no constructor takes, a key that is not there.
    """
    if isinstance(error, ImportError):
        return not (error.name or "").startswith("mscmreid")
    if isinstance(error, ValueError | OSError):
        return True
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    raised_in = frames[-1].f_globals.get("__name__", "") if frames else ""
    if isinstance(error, KeyError | TypeError | AttributeError | AssertionError):
        if raised_in.startswith(("mmengine.registry", "mmengine.config")):
            return True
        return raised_in.startswith("mmengine.") and "unexpected keyword argument" in str(error)
    return False


def one_line(error: BaseException) -> str:
    """The message of an exception without line breaks and control characters."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return plain(" ".join(line.strip() for line in text.splitlines() if line.strip())) or type(error).__name__


def process_number() -> int:
    """Which process of the run this is, from what launchers set; 0 for one alone."""
    names = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK")
    return next((int(os.environ[name]) for name in names if os.environ.get(name, "").isdigit()), 0)


def run_tool(main: Callable[[], int | None]) -> NoReturn:
    """Run a tool and end the process with its exit status.

    A user's mistake (:func:`is_mistake`) is one line on stderr and status 1, with its traceback if ``--debug`` is
    among the arguments; of several processes the first tells it, another only if the first did not end the run.
    Ctrl-C and SIGTERM are a line that says what is kept, status 130 and 143. Any other exception is a bug and keeps its
    traceback. Nothing that is printed or logged holds control characters (:mod:`mscmreid.terminal`).
    """
    number = process_number()
    plain_output()
    listen(tells=number == 0)
    try:
        try:
            with kept_when_interrupted(lambda: ""):  # errors behind a signal are that signal
                status = main()
            sys.stdout.flush()
        except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = 1
        except Exception as error:
            if not is_mistake(error):
                raise
            if number:
                time.sleep(HEAD_START)
            if "--debug" in sys.argv:
                traceback.print_exc()
            where = f" (process {number})" if number else ""
            stderr_line(f"error{where}: {one_line(error)}")
            status = 1
    except KeyboardInterrupt as stop:
        status, line = end_of(stop)
        if number == 0:
            stderr_line(line)
    _end(status or 0)


def _end(status: int) -> NoReturn:
    """End the process. One of several does so without the interpreter's last steps: torch's threads that are still
    there then may abort it ("terminate called without an active exception"), which its launcher takes for a failure,
    and ends the others while they may still be writing."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and "torch" in sys.modules:
        atexit._run_exitfuncs()  # data workers and loggers
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def tools() -> dict[str, Path]:
    """The tools by name, without the benchmarks, which measure a checkout."""
    folder = shipped("tools")
    found = {path.stem: path for path in folder.rglob("*.py") if "benchmarks" not in path.relative_to(folder).parts}
    return dict(sorted(found.items()))


def main() -> None:
    """``mscmreid TOOL ARGUMENTS``: run a tool by its name."""
    run_tool(_main)


def _main() -> int | None:
    found, name = tools(), next(iter(sys.argv[1:]), "--help")
    if name in ("-h", "--help"):
        print("usage: mscmreid TOOL ARGUMENTS...   (mscmreid TOOL --help for its options)\n")
        for tool, path in found.items():
            text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            print(f"  {tool:<22} {text.splitlines()[0].split(': python ')[0].removesuffix('.')}")
        return 0
    if name not in found:
        raise ValueError(f"no tool {name!r}; there are {', '.join(found)}")
    sys.argv = [str(found[name]), *sys.argv[2:]]
    runpy.run_path(str(found[name]), run_name="__main__")
    return None
