"""`veduta`: all commands, and the conversion of errors into messages and exit codes."""

import errno
import io
import sys
from contextlib import suppress

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
from veduta.cli.options import COLLECT_UNKNOWN, add_setting_flags
from veduta.cli.predict import predict
from veduta.cli.rebuild import rebuild
from veduta.cli.report import report
from veduta.cli.search import search
from veduta.cli.train import train
from veduta.errors import InputError, VedutaError, describe_os_error
from veduta.runtime.interruption import Interrupted, install_signal_handlers
from veduta.runtime.memory import explain_out_of_memory
from veduta.runtime.process import discard_output, exit_process, prepare_process
from veduta.tracking.text import make_visible

app = typer.Typer(
    name="veduta",
    help="From a folder of labeled images to an honest, explained image classifier.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
app.command()(inspect)
app.command(context_settings=COLLECT_UNKNOWN)(add_setting_flags(search))
app.command(context_settings=COLLECT_UNKNOWN)(add_setting_flags(train))
app.command("lr-find", context_settings=COLLECT_UNKNOWN)(add_setting_flags(lr_find))
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
    """Run the command line; print each fault of an error as one line, and set the exit code."""
    prepare_process()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    install_signal_handlers()
    exit_process(_run())


def _run() -> int:
    """Run the command and flush standard output; return the exit code."""
    try:
        code = _invoke()
        if sys.stdout:
            sys.stdout.flush()
    except BrokenPipeError:  # the reader has closed the pipe, as `head` does
        discard_output(sys.stdout.fileno())
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _print_error(
            f"standard output needs free disk space; {describe_os_error(error)}: free some space, "
            "or redirect the output"
        )
        return VedutaError.exit_code
    return code


def _invoke() -> int:
    """Run the command; return the exit code."""
    try:
        with explain_out_of_memory():
            app()
    except VedutaError as error:
        for line in error.faults if isinstance(error, InputError) else (str(error),):
            _print_error(line)
        return error.exit_code
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # typer and rich turn it into exit code 1
            return 0
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Interrupted as stop:
        with suppress(OSError):
            sys.stderr.write(f"{stop}\n")
        return stop.exit_code
    return 0


def _print_error(line: str) -> None:
    with suppress(OSError):
        sys.stderr.write(f"error: {make_visible(line)}\n")


if __name__ == "__main__":
    main()
