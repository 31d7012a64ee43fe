"""`veduta`: the commands, and the one place where an error becomes a line and an exit code."""

import sys

import typer

from veduta.cli.cache import cache
from veduta.cli.compare import compare
from veduta.cli.demo import demo
from veduta.cli.equations import equations
from veduta.cli.evaluate import evaluate
from veduta.cli.explain import explain
from veduta.cli.inspect import inspect
from veduta.cli.lr_find import lr_find
from veduta.cli.models import models
from veduta.cli.options import COLLECT, with_settings
from veduta.cli.output import prepare_streams
from veduta.cli.predict import predict
from veduta.cli.rebuild import rebuild
from veduta.cli.report import report
from veduta.cli.search import search
from veduta.cli.train import train
from veduta.errors import InputError, VedutaError
from veduta.runtime.interruption import Interrupted, install
from veduta.runtime.memory import expect_memory
from veduta.runtime.process import leave, prepare
from veduta.tracking.html import visible

app = typer.Typer(
    name="veduta",
    help="From a folder of labelled images to an honest, explained image classifier.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
app.command()(inspect)
app.command(context_settings=COLLECT)(with_settings(search))
app.command(context_settings=COLLECT)(with_settings(train))
app.command("lr-find", context_settings=COLLECT)(with_settings(lr_find))
app.command()(predict)
app.command()(evaluate)
app.command()(compare)
app.command()(explain)
app.command()(rebuild)
app.command()(report)
app.command()(models)
app.command()(demo)
app.command()(cache)
app.command()(equations)


def main() -> None:
    """Run the command line; every error of ours becomes one line a fault, and an exit code."""
    prepare()
    prepare_streams()
    install()
    try:
        with expect_memory():
            app()
    except VedutaError as error:
        lines = error.faults if isinstance(error, InputError) else (str(error),)
        for line in lines:
            sys.stderr.write(f"error: {visible(line)}\n")
        leave(error.exit_code)
    except SystemExit as end:
        leave(end.code if isinstance(end.code, int) else int(end.code is not None))
    except Interrupted as stop:
        sys.stderr.write(f"{stop}\n")
        leave(stop.exit_code)


if __name__ == "__main__":
    main()
