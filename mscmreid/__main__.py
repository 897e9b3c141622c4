"""``python -m mscmreid TOOL ...``, the same as the command ``mscmreid``; torchrun starts it with ``-m mscmreid``."""

from mscmreid.command_line import main

main()
