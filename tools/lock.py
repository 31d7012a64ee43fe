"""Print the lock file: every installed distribution with its version, without an index address.

`make lock` runs it in the environment in which the tests have passed. GPU libraries that exist only
for Linux have a marker, so that the same file can be installed on other systems.
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
