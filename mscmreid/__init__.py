"""mscmreid: visible-infrared person re-identification on MMEngine.

Importing the package does no work; components are registered when MMEngine's
registries first look for them (see :mod:`mscmreid.registry`).
"""

__version__ = "0.1.0"
