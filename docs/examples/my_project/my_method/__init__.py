"""Losses, a trunk plugin, a backbone and a view of our own."""

from . import backbone, centers, loss, plugin, view

__all__ = ["backbone", "centers", "loss", "plugin", "view"]
