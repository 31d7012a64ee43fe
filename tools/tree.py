"""Print the source tree, a line a file, from the first line of each module's docstring.

README.md holds what this prints; a test compares the two.
"""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1] / "src" / "veduta"


def why(path: Path) -> str:
    """The first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0].strip()


def tree() -> str:
    """The package as text: folders with why they exist, and below each its modules."""
    folders = sorted(path.parent for path in ROOT.glob("*/__init__.py"))
    lines = ["src/veduta/"]
    lines += [f"  {path.name:<24}{why(path)}" for path in sorted(ROOT.glob("[!_]*.py"))]
    for folder in folders:
        lines.append(f"  {folder.name + '/':<24}{why(folder / '__init__.py')}")
        lines += [f"    {path.name:<22}{why(path)}" for path in sorted(folder.glob("[!_]*.py"))]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(tree())
