"""Progress: what was done before a resume is neither done now nor to be done."""

from veduta.tuning.trials.progress import Meter


def test_epochs_told_again_after_a_resume_do_not_count() -> None:
    seen: list[tuple[int, int]] = []
    meter = Meter({"a": 10, "b": 10}, lambda done, total: seen.append((done, total)), unit=100)
    for number in (1, 2, 3, 4):
        meter.epoch("a", number, fresh=False)
    assert seen[-1] == (0, 1600), "6 epochs of one and 10 of the other"
    meter.images("a", 50)
    assert seen[-1] == (50, 1600)
    meter.epoch("a", 5)
    assert seen[-1] == (100, 1600)
    meter.ended("a")  # earlier than it might
    meter.epoch("b", 1)
    assert seen[-1] == (700, 1600)
    meter.done()
    assert seen[-1] == (1600, 1600)


def test_epochs_told_again_when_a_trial_goes_on_in_the_same_process_count_once() -> None:
    seen: list[tuple[int, int]] = []
    meter = Meter({"a": 4}, lambda done, total: seen.append((done, total)))
    meter.epoch("a", 1)
    meter.epoch("a", 2)
    for number in (1, 2):
        meter.epoch("a", number, fresh=False)
    assert seen[-1] == (2, 4)
    meter.epoch("a", 3)
    assert seen[-1] == (3, 4)
