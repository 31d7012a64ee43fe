"""Python environments of other tools: their packages, installed once with pip and kept."""

import subprocess
import sys
from pathlib import Path

TORCH = ("torch==2.14.1", "torchvision==0.29.1", "timm==1.0.31", "safetensors==0.8.0")
ENVIRONMENTS = {
    "fastai": ("fastai==2.8.12", *TORCH),
    "optuna": ("optuna==5.0.0", *TORCH),
    "sklearn": ("scikit-learn==1.9.1",),
}
READY = "ready.txt"  # the installed packages; written last


def set_up_environment(folder: Path, name: str) -> Path:
    """Return the Python of an environment, which is installed if it is missing or outdated.

    Raises:
        subprocess.CalledProcessError: pip cannot install a package.
    """
    environment = (folder / name).absolute()
    python, packages = environment / "bin" / "python", "\n".join(ENVIRONMENTS[name])
    ready = environment / READY
    if not ready.is_file() or ready.read_text() != packages:
        print(f"setting up {environment}: {', '.join(ENVIRONMENTS[name])}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        install = [str(python), "-m", "pip", "install", "-qq", *ENVIRONMENTS[name]]
        subprocess.run(install, check=True)
        ready.write_text(packages)
    return python
