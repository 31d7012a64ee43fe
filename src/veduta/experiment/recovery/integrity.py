"""What a run has besides what its journal gives: whether it can be read, and whose it is.

Scores, model and pictures are of one winner; where a journal names another, they are as good as
not there. A resumed run makes them again.
"""

from collections.abc import Sequence

from veduta.experiment.judgement import trial_of_test
from veduta.experiment.recovery.derived import LISTS, ended, lists_of, summary_in
from veduta.reporting.pictures.media import INDEX, pictures_stand
from veduta.runs.artifact import standing
from veduta.runs.directory import RunDirectory
from veduta.runs.journal import Event, latest_attempts
from veduta.tracking.tensorboard import PICTURES
from veduta.tuning.trials.store import read_scores


def lost(directory: RunDirectory, events: Sequence[Event]) -> list[str]:
    """What an ended run must have, and has not, that its journal alone does not give.

    What cannot be read, or is another winner's, it has not.
    """
    summary = summary_in(events)
    if summary is None or not ended(events):
        return []
    winner = summary["winner"]["trial"]
    model = standing(directory.path)
    stands = {
        directory.media / INDEX: pictures_stand(directory.media),
        directory.scores / f"{winner}.npz": _scores_stand(directory, events, winner),
    }
    if summary["test"]["images"]:
        stands[directory.test] = trial_of_test(directory) == winner
    if not lists_of(events):
        stands |= {path: path.is_file() for path in (directory.path / name for name in LISTS)}
    found = [str(path.relative_to(directory.path)) for path, whole in stands.items() if not whole]
    curves = directory.tensorboard / winner
    frozen = summary["winner"]["hyper_parameters"]["freeze"] == "all"
    if not frozen and not any(curves.glob(f"*{PICTURES}")):
        found.append(f"pictures in {curves.relative_to(directory.path)}")
    return found + ([] if model and model.trial == winner else [directory.model.name])


def _scores_stand(directory: RunDirectory, events: Sequence[Event], trial: str) -> bool:
    """Whether the scores of a trial are as its journal says."""
    said = [e for e in latest_attempts(events) if e["event"] == "trial finished"]
    of_trial = [event for event in said if event["trial"] == trial]
    path = directory.scores / f"{trial}.npz"
    return bool(of_trial) and read_scores(path, of_trial[-1]) is not None
