"""Print the lock file: every installed distribution, pinned, with no index address.

Run by `make lock` in the environment that the tests have just passed in. GPU libraries that exist
for Linux only carry a marker, so that the same file installs elsewhere.
"""

import sys
from importlib.metadata import distributions

LINUX_ONLY = ("cuda-", "nvidia-", "triton")
NOT_LOCKED = {"pip", "veduta"}


def main() -> None:
    """Write the lock file to standard output."""
    pins = {
        dist.metadata["Name"].lower().replace("_", "-"): dist.version for dist in distributions()
    }
    for name, version in sorted(pins.items()):
        if name not in NOT_LOCKED:
            marker = '; sys_platform == "linux"' if name.startswith(LINUX_ONLY) else ""
            sys.stdout.write(f"{name}=={version}{marker}\n")


if __name__ == "__main__":
    main()
