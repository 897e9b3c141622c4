"""Metadata, dependencies and extras of mscmreid."""

from pathlib import Path
from re import search

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = search(r'__version__ = "(.+?)"', (ROOT / "mscmreid" / "__init__.py").read_text()).group(1)

# The mm packages are an extra: somebody who has full mmcv must not get it overwritten by mmcv-lite.
MM = ["mmengine>=0.10.7,<0.11", "mmcv-lite>=2.2.0,<2.3", "setuptools"]  # mmengine needs distutils on Python 3.12+
EXTRAS = {
    "mm": MM,
    "tensorboard": ["tensorboard"],
    "report": ["matplotlib>=3.8"],
    "mat": ["scipy>=1.11"],
    "test": ["pytest>=8", "pytest-xdist>=3.6", "hypothesis>=6", "ruff>=0.6", "mypy>=1.11", "codespell>=2.3"],
}
EXTRAS["all"] = sorted({req for reqs in EXTRAS.values() for req in reqs})

setup(
    name="mscmreid",
    version=VERSION,
    description="Visible-infrared person re-identification on MMEngine: MSCMNet, AGW, CAJ and DEEN",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["mscmreid", "mscmreid.*"]),
    package_data={"mscmreid.visualization": ["templates/*"]},
    python_requires=">=3.10,<3.14",
    install_requires=["torch>=2.4", "torchvision>=0.19", "numpy>=1.26", "pillow>=10", "jinja2>=3.1", "filelock>=3.13"],
    extras_require=EXTRAS,
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
