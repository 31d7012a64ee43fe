"""`veduta models`: what can be trained."""

from veduta.cli.options import Json


def models(*, as_json: Json = False) -> None:
    """The models that can be trained: parameters, size, licence, where their weights come from."""
    from veduta import api
    from veduta.cli.printing import print_json
    from veduta.tracking.console import Console

    table = api.models()
    if as_json:
        print_json({"models": table.to_dict("records")})
        return
    table["parameters"] = table["parameters"].map("{:,}".format)
    Console().table(table, "")
