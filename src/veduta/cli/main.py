"""`veduta`: the commands, and the one place where an error becomes a line and an exit code."""

import io
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
from veduta.cli.predict import predict
from veduta.cli.report import report
from veduta.cli.search import search
from veduta.cli.train import train
from veduta.errors import InputError, VedutaError
from veduta.runtime.process import prepare
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
app.command()(report)
app.command()(models)
app.command()(demo)
app.command()(cache)
app.command()(equations)

INTERRUPTED = 130


def main() -> None:
    """Run the command line; every error of ours becomes one line a fault, and an exit code."""
    prepare()
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show is no error
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except VedutaError as error:
        lines = error.faults if isinstance(error, InputError) else (str(error),)
        for line in lines:
            sys.stderr.write(f"error: {visible(line)}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
