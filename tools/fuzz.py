"""Fuzz the targets of the tests with atheris, if it is installed.

    python -m tools.fuzz              every target, two minutes each
    python -m tools.fuzz decode 600   one target, ten minutes

Unlike plain mutation, atheris is guided by the coverage of the Python code.
"""

import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

SECONDS = 120
INSTRUMENTED = ["veduta", "PIL", "yaml", "safetensors"]


def fuzz(name: str, seconds: int) -> None:
    """Fuzz one target in this process; does not return."""
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        from tests.faults.fuzz_targets import list_targets

    run, seeds = list_targets()[name]
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds):
            (Path(corpus) / str(number)).write_bytes(seed)
        limits = ["-timeout=10", "-rss_limit_mb=4096", f"-max_total_time={seconds}"]
        atheris.Setup([sys.argv[0], *limits, corpus], run)
        atheris.Fuzz()


def main() -> int:
    """Fuzz the target named on the command line, or all targets."""
    if find_spec("atheris") is None:
        sys.stderr.write("atheris is not installed, so nothing is fuzzed: pip install atheris\n")
        return 0
    if len(sys.argv) > 1:
        fuzz(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else SECONDS)
        return 0
    for name in ("decode", "manifest", "tensors", "configuration", "table"):
        command = [sys.executable, "-m", "tools.fuzz", name]
        subprocess.run(command, check=True)  # noqa: S603
    return 0


if __name__ == "__main__":
    sys.exit(main())
