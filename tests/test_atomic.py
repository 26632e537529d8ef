"""Files that are written whole or not at all, by several writers, on full disks, after kills."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from conftest import leave_behind

from recbole_vae_plugin.system import atomic
from recbole_vae_plugin.system.atomic import replacing, temporary_folder, write_text


def names() -> set[str]:
    return {entry.name for entry in Path().iterdir()}


def test_a_file_takes_its_place_at_the_end():
    with replacing(Path("a.txt")) as partial:
        partial.write_text("new")
        assert "a.txt" not in names()
    assert Path("a.txt").read_text() == "new" and names() == {"a.txt"}


def test_where_the_block_fails_the_old_file_stays():
    Path("a.txt").write_text("old")
    with pytest.raises(KeyError), replacing(Path("a.txt")) as partial:
        partial.write_text("half")
        raise KeyError
    assert Path("a.txt").read_text() == "old" and names() == {"a.txt"}


def test_permissions_are_those_of_any_new_file():
    Path("plain.txt").write_text("")
    write_text(Path("a.txt"), "")
    assert stat.S_IMODE(os.stat("a.txt").st_mode) == stat.S_IMODE(os.stat("plain.txt").st_mode)


def test_two_writers_do_not_tear_a_file():
    def write(letter: str) -> None:
        for _ in range(20):
            with replacing(Path("shared.txt")) as partial, partial.open("w") as stream:
                for _ in range(50):
                    stream.write(letter * 100)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, "abcd"))
    content = Path("shared.txt").read_text()
    assert len(content) == 5000 and len(set(content)) == 1 and names() == {"shared.txt"}


def test_temporary_names_cannot_be_foreseen_and_links_are_not_followed():
    Path("target.txt").write_text("precious")
    seen = set()
    for _ in range(3):
        with replacing(Path("a.txt")) as partial:
            seen.add(partial.name)
    assert len(seen) == 3
    Path("a.txt.partial").symlink_to("target.txt")
    write_text(Path("a.txt"), "mine")
    assert Path("target.txt").read_text() == "precious"
    Path("b.txt").symlink_to("target.txt")
    write_text(Path("b.txt"), "mine")
    assert Path("target.txt").read_text() == "precious" and not Path("b.txt").is_symlink()


def test_what_a_killed_writer_left_is_removed_by_the_next():
    code = (
        "import os; from pathlib import Path; from recbole_vae_plugin.system.atomic import replacing\n"
        "with replacing(Path('a.txt')) as partial:\n    partial.write_text('half'); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    (left,) = names()
    assert left.startswith(".a.txt.") and left.endswith(".partial")
    with replacing(Path("b.txt")) as mine, replacing(Path("a.txt")):
        assert left not in names(), "of another file too: a checkpoint's name comes once"
        assert mine.exists(), "a writer at work keeps its own"


def test_folders_of_killed_processes_are_removed_and_those_of_others_kept(monkeypatch):
    left = leave_behind(Path("cache"))
    theirs = Path(".cache.another-machine.1.0123456789ab.partial")
    mine = Path("cache.partial")
    for folder in (theirs, mine):
        folder.mkdir()
        (folder / "log").write_text("")
    monkeypatch.setattr(atomic, "ABANDONED_AFTER", 3600)
    os.utime(theirs, (0, 0))
    with temporary_folder(Path("cache")) as folder:
        assert not left.exists() and stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert mine.exists() and theirs.exists(), "the log was written lately"
        os.utime(theirs / "log", (0, 0))
        os.utime(theirs, (0, 0))
        with temporary_folder(Path("cache")):
            assert folder.exists() and not theirs.exists()
    assert names() == {"cache.partial"}


@pytest.mark.parametrize("kind", ["by the system", "by torch"])
def test_a_full_disk_names_the_file_and_keeps_the_old_one(kind, monkeypatch):
    monkeypatch.setattr(atomic, "_free", lambda folder: 2**20)
    Path("a.pth").write_text("old")
    problem = {
        "by the system": OSError(errno.ENOSPC, "No space left on device"),
        "by torch": RuntimeError("[enforce fail at inline_container.cc:595] . unexpected pos 64 vs 0"),
    }[kind]
    said = "the disk is full: .*a.pth, of 5.0 MiB, was not written"
    with pytest.raises(OSError, match=said) as refused, replacing(Path("a.pth"), size=5 * 2**20) as partial:
        partial.write_text("half")
        raise problem
    assert "the existing file has been kept" in str(refused.value)
    assert Path("a.pth").read_text() == "old" and names() == {"a.pth"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_torch_on_a_device_that_is_full(monkeypatch):
    monkeypatch.setattr(atomic, "_free", lambda folder: 0)
    with pytest.raises(OSError, match="the disk is full"), replacing(Path("a.pth")):
        torch.save(torch.ones(10**6), "/dev/full")


def test_what_was_written_has_reached_the_disk_before_it_takes_its_place(monkeypatch):
    done = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append("fsync"))
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, to: (done.append("replace"), replace(self, to)))
    write_text(Path("a.txt"), "new")
    assert done == ["fsync", "replace", "fsync"]
