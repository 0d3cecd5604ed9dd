"""Installation of the distribution ``dcpt``; settings of the tools stand in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent


class BuildWithOptions(build_py):
    """Puts the option files into the package of commands, where they are found without a checkout."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:  # which finds them in the checkout
            target = Path(self.build_lib) / "dcpt_tools" / "options"
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(HERE / "options", target)


# torch.onnx builds graphs with onnxscript; onnxruntime runs what was written, to compare it.
EXPORT = ["onnx>=1.16", "onnxruntime>=1.18", "onnxscript>=0.3"]
PLOTS = ["matplotlib>=3.8"]
HUB = ["huggingface_hub>=0.27"]
NOTEBOOK = ["ipykernel>=6.29", "nbclient>=0.10", "nbformat>=5.10"]
STUDY = ["scikit-learn>=1.4", *PLOTS]
APP = ["gradio>=6.0"]
BROWSER = ["selenium>=4.20"]  # drives a Chromium that is there, in a test of the page
SPANDREL = ["spandrel>=0.4.1"]

setup(
    name="dcpt",
    version="0.1.0",
    description="Universal image restoration pre-training via degradation classification, on BasicSR",
    long_description=(HERE / "README.md").read_text(encoding="utf-8") if (HERE / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["dcpt_*"]),
    py_modules=["dcpt_compat"],
    package_data={
        "dcpt_common": ["py.typed"],
        "dcpt_arch": ["py.typed"],
        "dcpt_models": ["py.typed", "evaluation/published_tables/*.yml", "analysis/report/page.*", "weights/*"],
        "dcpt_mmengine": ["py.typed"],
        "dcpt_tools": ["py.typed"],
        "dcpt_data": ["py.typed", "sources/sources.yml"],
    },
    cmdclass={"build_py": BuildWithOptions},
    entry_points={"console_scripts": ["dcpt = dcpt_tools.commands:main"]},
    python_requires=">=3.10,<3.14",  # torch no longer ships for 3.9
    install_requires=[
        "torch>=2.6",
        "torchvision>=0.21",
        "numpy>=1.24",
        # It does not build on 3.13; dcpt_compat and README say how it is installed there.
        "basicsr==1.4.2; python_version < '3.13'",
        "mmengine>=0.10.7",
        "mmcv-lite>=2.1",
        "opencv-python>=4.8",
        "lmdb>=1.4",
        "fsspec>=2023.5",
        "pillow>=10.0",
        "safetensors>=0.4",
        "scipy>=1.10",
        "scikit-image>=0.22",
        "pyyaml>=6.0",
        "tifffile>=2023.8",
        "tqdm>=4.65",
        "jinja2>=3.1",
    ],
    extras_require={
        "test": [
            "pytest>=8",
            "pytest-xdist>=3.5",
            "hypothesis>=6.100",
            "spandrel-extra-arches>=0.2",
            *APP,
            *BROWSER,
            *SPANDREL,
            *EXPORT,
            *STUDY,
            *HUB,
            *NOTEBOOK,
        ],
        "dev": ["ruff>=0.9", "mypy>=1.14", "pre-commit>=3.5"],
        "wandb": ["wandb"],
        "export": EXPORT,
        "app": APP,
        "spandrel": SPANDREL,
        "plots": PLOTS,
        "study": STUDY,
        "hub": HUB,
        "metrics": ["pyiqa>=0.1.11"],
    },
)
