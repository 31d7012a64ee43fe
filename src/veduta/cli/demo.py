"""`veduta demo`: the main job on images that come with scikit-learn."""

from veduta.cli.options import Json, Out


def demo(*, out: Out = None, as_json: Json = False) -> None:
    """A search of 12 trials on handwritten digits, written out as a folder like any user's."""
    from veduta import api
    from veduta.cli.printing import finish_run
    from veduta.tracking.console import Console

    console = Console(stderr=as_json)
    finish_run(api.demo(out=out, console=console), console, as_json=as_json)
