"""The Jinja2 templates of this package; whatever is put into one is escaped, control characters are written out."""

from __future__ import annotations

from functools import cache
from typing import SupportsFloat

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from mscmreid.tables import plain


def template(name: str) -> Template:
    """``templates/<name>``; a name that it uses and is not given is an error."""
    return _environment().get_template(name)


@cache
def script(name: str) -> Markup:
    """The text of ``templates/<name>``, which is put into a page as it stands."""
    loader = _environment().loader
    assert loader is not None
    return Markup(loader.get_source(_environment(), name)[0])


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mscmreid.visualization"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["short"] = _short
    return environment


def _shown(value: object) -> object:
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _short(number: SupportsFloat) -> str:
    """A coordinate: one digit behind the point, none if it is 0."""
    return f"{float(number):.1f}".removesuffix(".0")
