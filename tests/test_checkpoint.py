"""Checkpoints: whole or absent, two of them, and the one before where the newest is damaged."""

import errno
import logging
import os
import resource
import signal
import subprocess
import sys
import time

import pytest
import torch

from pn_lib.errors import InputError
from pn_lib.training.checkpoint import checkpoints, load_checkpoint, save_checkpoint


def save(folder, step):
    save_checkpoint(folder, step, {"step": step, "model": {"weight": torch.full((100,), float(step))}})


def test_the_last_two_are_kept(tmp_path):
    for step in (3, 6, 9):
        save(tmp_path, step)
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-000000009.pt", "checkpoint-000000006.pt"]
    assert load_checkpoint(tmp_path)["step"] == 9
    save(tmp_path, 3)  # another run, begun anew in the same folder: what is of later steps is not its own
    assert load_checkpoint(tmp_path)["step"] == 3 and len(checkpoints(tmp_path)) == 1


def test_damaged_newest_falls_back_and_says_so(tmp_path, caplog):
    save(tmp_path, 3)
    save(tmp_path, 6)
    newest = checkpoints(tmp_path)[0]
    whole = newest.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1  # one bit of one weight
    for damaged in (b"", b"not a checkpoint", whole[:-100], bytes(flipped)):
        newest.write_bytes(damaged)
        with caplog.at_level(logging.WARNING):
            assert load_checkpoint(tmp_path)["step"] == 3
        assert "checkpoint-000000006.pt is damaged; the one before it is tried" in caplog.text
        caplog.clear()
    checkpoints(tmp_path)[1].write_bytes(b"")
    with pytest.raises(InputError, match=r"every checkpoint in .* is damaged; delete them"):
        load_checkpoint(tmp_path)
    newest.write_bytes(whole)
    assert load_checkpoint(tmp_path)["step"] == 6


def test_none_where_there_is_none(tmp_path):
    assert load_checkpoint(tmp_path) is None


def test_nothing_is_executed(tmp_path):
    class Trap:
        def __reduce__(self):
            return print, ("executed",)

    save_checkpoint(tmp_path, 1, {"step": Trap()})
    with pytest.raises(Exception, match=r"weights_only|Weights only"):
        load_checkpoint(tmp_path)


def test_full_disk_leaves_the_earlier_checkpoints(tmp_path, monkeypatch):
    save(tmp_path, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            save_checkpoint(tmp_path, 2, {"step": 2, "weights": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert load_checkpoint(tmp_path)["step"] == 1
    assert len(list(tmp_path.iterdir())) == 1

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"checkpoint of step 2 in .*; checkpoint-000000001\.pt is whole\. Free some"):
        save(tmp_path, 2)
    assert load_checkpoint(tmp_path)["step"] == 1


SAVING = """
import sys, torch
from pn_lib.training.checkpoint import save_checkpoint
for step in range(1, 100_000):
    save_checkpoint({folder!r}, step, {{"step": step, "weights": torch.full((200_000,), float(step))}})
"""


def test_killed_in_the_middle_of_a_save(tmp_path):
    for delay in (0.0, 0.003, 0.007, 0.011):
        folder = tmp_path / str(delay)
        child = subprocess.Popen([sys.executable, "-c", SAVING.format(folder=str(folder))])
        deadline = time.monotonic() + 60
        while len(checkpoints(folder)) < 2 and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(delay)
        child.kill()
        assert child.wait() == -signal.SIGKILL, "the child ended before it was killed"
        saved = load_checkpoint(folder)
        assert saved["step"] >= 2 and torch.all(saved["weights"] == saved["step"])
