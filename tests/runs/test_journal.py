"""Journal files: events are read back, a torn last line is ignored, other damage is refused."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.journals import (
    make_epoch,
    make_plan,
    make_run_started,
    make_summary,
    make_trial_finished,
    make_trial_started,
    write_journal,
)
from veduta.errors import InputError
from veduta.runs.events import EpochFinished, Event, RunFinished, TrialPaused, events_of_type
from veduta.runs.journal import Journal, JournalError, decode_line, encode_event, read_journal

EVENTS: list[Event] = [
    make_run_started(),
    make_plan("t1"),
    make_trial_started(),
    make_epoch(),
    make_trial_finished(),
    RunFinished(summary=make_summary()),
]


@given(st.text(), st.floats(allow_nan=False), st.integers(0))
def test_a_line_is_json_and_reads_back(trial: str, loss: float, epoch: int) -> None:
    event = make_epoch(trial, epoch, val_loss=loss)
    line = encode_event(event)
    assert decode_line(line) == event
    assert line.count(b"\n") == 1
    assert "crc32" in json.loads(line)
    assert line.startswith(b'{"event":"')


@given(st.sampled_from(EVENTS), st.data())
def test_a_flipped_bit_and_a_cut_are_detected(event: Event, data: st.DataObject) -> None:
    line = bytearray(encode_event(event))
    position = data.draw(st.integers(0, len(line) - 1))
    assert decode_line(bytes(line[:position])) is None
    line[position] ^= 1 << data.draw(st.integers(0, 7))
    assert decode_line(bytes(line)) is None


def list_epochs(path: Path) -> list[int]:
    """Return the numbers of the epochs in a journal."""
    return [event.epoch for event in events_of_type(read_journal(path), EpochFinished)]


def test_a_torn_last_line_is_ignored_and_other_damage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        for number in range(3):
            journal.append(make_epoch(epoch=number))
    content = path.read_bytes()
    for cut in range(1, len(encode_event(make_epoch(epoch=2)))):
        path.write_bytes(content[:-cut])
        assert list_epochs(path) == [0, 1]
    path.write_bytes(content.replace(b'"epoch":1', b'"epoch":7'))
    with pytest.raises(JournalError, match="line 2"):
        read_journal(path)


def test_an_existing_journal_is_never_overwritten(tmp_path: Path) -> None:
    Journal(tmp_path / "j").__exit__()
    with pytest.raises(FileExistsError):
        Journal(tmp_path / "j")


def test_appended_events_survive_kill_9(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom tests.support.journals import make_epoch\n"
        "from veduta.runs.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for number in range(10**9):\n"
        "    journal.append(make_epoch(epoch=number))\n"
        "    print(number, flush=True)\n"
    )
    path = tmp_path / "journal.jsonl"
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        acknowledged = [int(child.stdout.readline()) for _ in range(500)]
        os.kill(child.pid, signal.SIGKILL)
        acknowledged += [int(line) for line in child.stdout if line.endswith("\n")]
    numbers = list_epochs(path)
    assert numbers[: len(acknowledged)] == acknowledged
    assert len(numbers) - len(acknowledged) <= 1


def test_a_reopened_journal_continues_after_its_last_complete_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append(make_trial_started())
        journal.append(make_epoch(epoch=1))
    content, line = path.read_bytes(), encode_event(make_epoch(epoch=2))
    path.write_bytes(content + line[:-5])
    with Journal.reopen(path) as journal:
        assert journal.torn_bytes == len(line) - 5
        assert journal.events == [make_trial_started(), make_epoch(epoch=1)]
        assert path.read_bytes() == content
        journal.append(make_epoch(epoch=2))
    assert path.read_bytes() == content + line
    with Journal.reopen(path) as journal:
        assert journal.torn_bytes == 0
    path.write_bytes(path.read_bytes().replace(b'"epoch":1', b'"epoch":7'))
    with pytest.raises(JournalError, match="line 2"):
        Journal.reopen(path)


def test_a_journal_has_one_writer_until_its_process_ends(tmp_path: Path) -> None:
    script = (
        "import sys, time, os\nfrom pathlib import Path\n"
        "from tests.support.journals import make_run_started\n"
        "from veduta.runs.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "journal.append(make_run_started(pid=os.getpid()))\n"
        "print('ready', flush=True)\ntime.sleep(600)\n"
    )
    path = tmp_path / "journal.jsonl"
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        assert child.stdout.readline() == "ready\n"
        with pytest.raises(InputError, match=f"process {child.pid}"):
            Journal.reopen(path)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        with Journal.reopen(path) as journal:
            assert len(journal.events) == 1
            with pytest.raises(InputError, match=f"process {child.pid}"):
                Journal.reopen(path)


def test_epochs_alone_are_not_synced_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = list[int]()
    with Journal(tmp_path / "journal.jsonl") as journal:
        monkeypatch.setattr(os, "fsync", synced.append)
        monkeypatch.setattr("veduta.runs.journal.SYNC_INTERVAL", 1e9)
        for event in EVENTS:
            journal.append(event)
    assert len(synced) == len(EVENTS) - 1 + 1  # all but the epoch, and the end


def test_every_event_of_a_written_journal_reads_back(tmp_path: Path) -> None:
    events = [*EVENTS, TrialPaused(trial="caf\udce9")]
    write_journal(tmp_path / "journal.jsonl", events)
    assert read_journal(tmp_path / "journal.jsonl") == events
