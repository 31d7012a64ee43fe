"""What there is: the models that can be trained, and what earlier runs left in the cache."""

import pandas as pd

from veduta.data.upkeep import clear as empty
from veduta.experiment.cached import held_in
from veduta.models.listing import listed
from veduta.runtime.environment import cache_folder


def models() -> pd.DataFrame:
    """The models that can be trained, and what the report's table says of those that stand in it.

    Besides these any network of timm can be trained under `timm:NAME`. A row of the report's table
    that neither library has says so in `note`; what is not known of a model is missing.
    """
    return pd.DataFrame(listed()).convert_dtypes()  # whole numbers stay so beside what is missing


def cache(*, clear: bool = False) -> pd.DataFrame:
    """What the cache holds of earlier runs: pixels, features of each view, networks in int8.

    Args:
        clear: remove it all, what a run is writing just now excepted; the table is what was there.
    """
    table = held_in(cache_folder())
    if clear:
        empty(cache_folder())
    return table
