"""Metadata, dependencies and extras of mscmreid."""

import os
import shutil
from pathlib import Path
from re import search

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
VERSION = search(r'__version__ = "(.+?)"', (ROOT / "mscmreid" / "__init__.py").read_text()).group(1)
SHIPPED = ("configs", "tools", "model-index.yml")
"""What a wheel carries beside the package, in ``mscmreid/.mim``: where OpenMMLab's ``mim`` looks for it."""

EXTRAS = {
    "mm": ["mmcv-lite>=2.2.0,<2.3"],  # an extra of its own: full mmcv has the same files and would be overwritten
    "tensorboard": ["tensorboard"],
    "report": ["matplotlib>=3.8"],
    "stats": ["scipy>=1.11", "scikit-learn>=1.4"],
    "faiss": ["faiss-cpu>=1.8"],
    "milvus": ["pymilvus>=2.5", "milvus-lite>=2.4.11; platform_system != 'Windows'"],
    "serve": ["fastapi>=0.110", "uvicorn>=0.29", "python-multipart>=0.0.9"],
    "export": ["onnx>=1.16", "onnxscript>=0.2", "onnxruntime>=1.18", "openvino>=2024.4"],
    "embed": ["umap-learn>=0.5.6", "scikit-learn>=1.4"],
    "parquet": ["pyarrow>=15"],
    "fiftyone": ["fiftyone>=1.0"],
    "test": ["pytest>=8", "pytest-xdist>=3.6", "hypothesis>=6", "ruff>=0.6", "mypy>=1.11", "codespell>=2.3"],
}
EXTRAS["test"] += ["httpx>=0.27", "playwright>=1.44"]  # the search page, driven as a browser does
APART = ("mm", "fiftyone")
"""Extras that ``all`` leaves out: one of two that exclude each other, and one that brings a database server."""
EXTRAS["all"] = sorted({req for name, reqs in EXTRAS.items() if name not in APART for req in reqs})


class BuildPy(build_py):
    """Puts :data:`SHIPPED` into the package: copies in a wheel, links where the checkout is installed editable."""

    def run(self) -> None:
        """Build, then ship."""
        super().run()
        package = ROOT if self.editable_mode else Path(self.build_lib)
        folder = package / "mscmreid" / ".mim"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in SHIPPED:
            source, target = ROOT / name, folder / name
            if self.editable_mode:
                try:
                    target.symlink_to(os.path.relpath(source, folder), target_is_directory=source.is_dir())
                except OSError as error:  # Windows without the right to make links: all but mim works without them
                    self.warn(f"{target}: no link could be made, so mim will not find it: {error}")
            elif source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
            else:
                shutil.copy2(source, target)


setup(
    name="mscmreid",
    version=VERSION,
    description="Visible-infrared person re-identification on MMEngine: MSCMNet, AGW, CAJ, DEEN, DNS and PMT",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["mscmreid", "mscmreid.*"]),
    include_package_data=True,  # what MANIFEST.in names inside the package
    cmdclass={"build_py": BuildPy},
    package_data={
        "mscmreid.visualization": ["data/*.json", "templates/*"],
        "mscmreid.serving": ["static/*"],
    },
    entry_points={"console_scripts": ["mscmreid=mscmreid.command_line:main"]},
    python_requires=">=3.10,<3.14",
    install_requires=[
        "torch>=2.7",
        "torchvision>=0.22",
        "numpy>=1.26",
        "pillow>=10.1",
        "opencv-python>=4.10",  # as mmengine does
        "mmengine>=0.10.7,<0.11",
        "jinja2>=3.1",
        "filelock>=3.13",
        "setuptools",  # mmengine needs distutils, which Python 3.12 and later have from there
    ],
    extras_require=EXTRAS,
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
