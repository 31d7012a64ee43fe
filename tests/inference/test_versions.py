"""A model that was trained with other versions: a warning says what can change its answers."""

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
from veduta.features.engines import TORCH, engine_version
from veduta.tracking.console import Console

OTHER = "pillow-1.2.3/1"
SMALL = {"model": "mlp", "weights": "none", "image_size": 16, "epochs": 1}


@pytest.fixture(scope="module")
def run(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose manifest says that another Pillow decoded the images."""
    out = tmp_path_factory.mktemp("versions") / "run"
    veduta.train(colours, out=out, engine="torch", console=Console(quiet=True), **SMALL)
    content = manifest(out)
    assert content["decoder"] == DECODER
    assert content["engine_version"] == engine_version(TORCH)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        veduta.load(out)
    rewrite(out, decoder=OTHER)
    return out


def manifest(run: Path) -> dict[str, Any]:
    return json.loads((run / "model" / "model.json").read_text())


def rewrite(run: Path, **changes: str) -> None:
    (run / "model" / "model.json").write_text(json.dumps({**manifest(run), **changes}))


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


def test_load_refuses_where_the_warning_is_made_an_error(run: Path) -> None:
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
    run: Path, colours: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    words = [command, str(run), *COMMANDS[command](colours), "--out", str(tmp_path / "out")]
    app(words, standalone_mode=False)
    told = [line for line in capfd.readouterr().err.splitlines() if OTHER in line]
    assert len(told) == 1
    assert told[0].startswith("warning: ")
    assert DECODER in told[0]
