"""A loss, a trunk plugin and a view of our own."""

from . import loss, plugin, view

__all__ = ["loss", "plugin", "view"]
