"""A warning names the versions that differ from those a model was trained with."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import veduta
from veduta.cli.main import app
from veduta.data.decode import DECODER
from veduta.errors import VersionWarning
from veduta.features.engines import TORCH, get_engine_version
from veduta.tracking.console import Console

OTHER = "pillow-1.2.3/1"
SMALL: dict[str, Any] = {"model": "mlp", "weights": "none", "image_size": 16, "epochs": 1}


@pytest.fixture(scope="module")
def run(color_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run whose manifest names another version of Pillow."""
    out = tmp_path_factory.mktemp("versions") / "run"
    veduta.train(color_folder, out=out, engine="torch", console=Console(quiet=True), **SMALL)
    content = read_manifest(out)
    assert content["decoder"] == DECODER
    assert content["engine_version"] == get_engine_version(TORCH)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        veduta.load(out)
    change_manifest(out, decoder=OTHER)
    return out


def read_manifest(run: Path) -> dict[str, Any]:
    return json.loads((run / "model" / "model.json").read_text())


def change_manifest(run: Path, **changes: str) -> None:
    (run / "model" / "model.json").write_text(json.dumps({**read_manifest(run), **changes}))


def test_load_warns_and_names_both_versions_and_the_line_of_the_caller(run: Path) -> None:
    with pytest.warns(VersionWarning) as caught:
        model = veduta.load(run)
    (warning,) = caught
    text = str(warning.message)
    assert all(name in text for name in (str(run), "decoder", OTHER, DECODER))
    assert "install the version" in text
    assert "train it again" in text
    assert warning.filename == __file__
    assert model.classes == ("blue", "green", "red")


def test_load_fails_if_the_warning_is_an_error(run: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", VersionWarning)
        with pytest.raises(VersionWarning, match=OTHER):
            veduta.load(run)


COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "predict": lambda data: [str(data / "red")],
    "evaluate": lambda data: [str(data)],
    "explain": lambda data: [str(data / "red" / "000.png"), "--method", "occlusion"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_warn_on_standard_error_in_one_line(
    run: Path, color_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    arguments = [
        command,
        str(run),
        *COMMANDS[command](color_folder),
        "--out",
        str(tmp_path / "out"),
    ]
    app(arguments, standalone_mode=False)
    warning_lines = [line for line in capfd.readouterr().err.splitlines() if OTHER in line]
    assert len(warning_lines) == 1
    assert warning_lines[0].startswith("warning: ")
    assert DECODER in warning_lines[0]
