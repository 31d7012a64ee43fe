"""The journal: what was written reads back, a torn tail is left out, other damage is refused."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veduta.errors import InputError
from veduta.runs.journal import Journal, JournalError, decode, encode, read_journal

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.text(), VALUES, min_size=1))
def test_a_line_is_json_and_reads_back(event: dict[str, object]) -> None:
    line = encode(event)
    assert decode(line) == event
    assert line.count(b"\n") == 1
    assert "crc32" in json.loads(line)


@given(st.dictionaries(st.text(), VALUES, min_size=1), st.data())
def test_a_flipped_bit_or_a_cut_is_noticed(event: dict[str, object], data: st.DataObject) -> None:
    line = bytearray(encode(event))
    place = data.draw(st.integers(0, len(line) - 1))
    assert decode(bytes(line[:place])) is None
    line[place] ^= 1 << data.draw(st.integers(0, 7))
    assert decode(bytes(line)) is None


def test_a5_a_torn_last_line_is_left_out_and_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        for number in range(3):
            journal.append("epoch", number=number)
    whole = path.read_bytes()
    for cut in range(1, len(encode({"event": "epoch", "number": 2}))):
        path.write_bytes(whole[:-cut])
        assert [event["number"] for event in read_journal(path)] == [0, 1]
    path.write_bytes(whole.replace(b'"number":1', b'"number":7'))
    with pytest.raises(JournalError, match="line 2"):
        read_journal(path)


def test_an_existing_journal_is_never_opened_for_writing(tmp_path: Path) -> None:
    Journal(tmp_path / "j").__exit__()
    with pytest.raises(FileExistsError):
        Journal(tmp_path / "j")


def test_what_was_appended_survives_kill_9(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom veduta.runs.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for number in range(10**9):\n"
        "    journal.append('epoch', number=number)\n"
        "    print(number, flush=True)\n"
    )
    path = tmp_path / "journal.jsonl"
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        acknowledged = [int(child.stdout.readline()) for _ in range(500)]
        os.kill(child.pid, signal.SIGKILL)
        acknowledged += [int(line) for line in child.stdout if line.endswith("\n")]
    numbers = [event["number"] for event in read_journal(path)]
    assert numbers[: len(acknowledged)] == acknowledged
    assert len(numbers) - len(acknowledged) <= 1


def test_a_reopened_journal_goes_on_after_its_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append("start", seed=0)
        journal.append("epoch", number=1)
    whole = path.read_bytes()
    path.write_bytes(whole + encode({"event": "epoch", "number": 2})[:-5])
    with Journal.reopened(path) as journal:
        assert journal.torn == len(encode({"event": "epoch", "number": 2})) - 5
        assert [event["event"] for event in journal.events] == ["start", "epoch"]
        assert path.read_bytes() == whole
        journal.append("epoch", number=2)
    assert path.read_bytes() == whole + encode({"event": "epoch", "number": 2})
    with Journal.reopened(path) as journal:
        assert journal.torn == 0
    path.write_bytes(path.read_bytes().replace(b'"number":1', b'"number":7'))
    with pytest.raises(JournalError, match="line 2"):
        Journal.reopened(path)


def test_a9_a_journal_has_one_writer_until_it_dies(tmp_path: Path) -> None:
    script = (
        "import sys, time, os\nfrom pathlib import Path\nfrom veduta.runs.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "journal.append('start', pid=os.getpid())\nprint('ready', flush=True)\ntime.sleep(600)\n"
    )
    path = tmp_path / "journal.jsonl"
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        assert child.stdout.readline() == "ready\n"
        with pytest.raises(InputError, match=f"process {child.pid}"):
            Journal.reopened(path)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        with Journal.reopened(path) as journal:
            assert len(journal.events) == 1
            with pytest.raises(InputError, match="one process at a time"):
                Journal.reopened(path)
