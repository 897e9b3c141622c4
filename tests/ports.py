"""Ports for processes that meet on this machine."""

from __future__ import annotations

import socket


def free_port() -> str:
    """A port of the loopback interface that nobody listens on now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])
