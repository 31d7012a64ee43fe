"""The tutorial runs from its first to its last cell and has the promised output."""

import os
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tutorial.ipynb"


@pytest.mark.slow
def test_the_notebook_runs_from_a_folder_to_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert len(notebook.cells) >= 12
    runner = client.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    runner.execute(env={**os.environ, "PYTHONWARNINGS": "default"})
    pages = [
        item["data"]["text/html"]
        for cell in notebook.cells
        for item in cell.get("outputs", ())
        if "text/html" in item.get("data", {})
    ]
    output = "".join(pages)
    assert "trial(s)" in output  # the study
    assert "Image classifier" in output
    assert "<strong>Evaluation</strong>" in output
    assert (tmp_path / "tutorial" / "run" / "report.html").stat().st_size < 5e6
