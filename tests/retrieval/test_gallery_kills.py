"""Writers of a gallery that are killed at random moments: nothing is lost, nothing doubled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("gallery_kills.py")


@pytest.mark.slow
def test_a_gallery_is_as_before_or_as_after_whenever_its_writer_is_killed():
    command = [sys.executable, str(SCRIPT), "--kills", "12", "--seed", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert "in add, as before" in done.stdout and "; 0 differences" in done.stdout
    print(done.stdout)
