"""The environments of the peers: what stands in each, made once with pip and kept."""

import subprocess
import sys
from pathlib import Path

TORCH = ("torch==2.14.1", "torchvision==0.29.1", "timm==1.0.31", "safetensors==0.8.0")
ENVIRONMENTS = {
    "fastai": ("fastai==2.8.12", *TORCH),
    "optuna": ("optuna==5.0.0", *TORCH),
    "sklearn": ("scikit-learn==1.9.1",),
}
READY = "ready.txt"  # what was asked for; written last


def python_of(folder: Path, name: str) -> Path:
    """The Python of an environment, which is made where it is missing or asks for other versions.

    Raises:
        subprocess.CalledProcessError: pip found no such packages; it says why.
    """
    place = (folder / name).absolute()
    python, wanted = place / "bin" / "python", "\n".join(ENVIRONMENTS[name])
    ready = place / READY
    if not ready.is_file() or ready.read_text() != wanted:
        print(f"setting up {place}: {', '.join(ENVIRONMENTS[name])}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        install = [str(python), "-m", "pip", "install", "-qq", *ENVIRONMENTS[name]]
        subprocess.run(install, check=True)
        ready.write_text(wanted)
    return python
