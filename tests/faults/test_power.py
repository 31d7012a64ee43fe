"""Power cuts: whatever a disk may hold after one, what a search had acknowledged is there.

Epochs are waited for once a second, on purpose: a power cut may take the last second of them, and
they are trained again. Everything else is waited for at once.
"""

from pathlib import Path

import pytest

from tests.faults.driven import drive
from tests.faults.forks import no_strace


@pytest.mark.skipif(bool(no_strace()), reason=f"needs strace: {no_strace()}")
def test_a4_no_power_cut_takes_what_was_acknowledged(tmp_path: Path) -> None:
    found = drive("power-cuts", tmp_path)
    assert found["faults"] == []
    assert found["states"] > 200
