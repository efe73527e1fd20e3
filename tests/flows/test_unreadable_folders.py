"""Folders of the inbox that the worker may not look into: their drop fails by name, alone."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.drops import BLUE, RED, write_box_drop
from tests.flows.unprivileged import CANNOT

PICTURES = [[((4, 4, 10, 8), RED)], [((30, 20, 12, 10), BLUE)]]
PROJECT = Path(__file__).parent.parent.parent
DENIED = "permission denied"


@pytest.fixture
def root():
    """A root that every user can reach, as the folders of pytest are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "root"
        for number, name in enumerate(("a", "private", "z")):
            write_box_drop(path / "inbox" / name, [[((4 + number, 4, 10, 8), RED)], *PICTURES[1:]])
        yield path
        for below, _, _ in os.walk(path):
            Path(below).chmod(0o700)


def seal(root):
    """What is said of the drops, and how many files they have, and how many are refused."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.flows.unprivileged", str(root)],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env={**os.environ, "HOME": str(root.parent)},
    )
    if done.returncode == CANNOT:
        pytest.skip("the tests run as root, whom no mode stops, and cannot become another user")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def close(folder, mode):
    """For whoever is not its owner; for its owner as well where that is who runs the tests."""
    Path(folder).chmod(mode if os.geteuid() == 0 else mode // 8 % 8 * 64)


@pytest.mark.parametrize(
    ("place", "mode"),
    [
        pytest.param("", 0o700, id="the drop itself"),
        pytest.param("images", 0o744, id="a folder that only shows names"),
        pytest.param("images", 0o711, id="a folder that shows nothing"),
    ],
)
def test_a_drop_with_a_folder_that_may_not_be_looked_into_fails_alone(root, place, mode):
    closed = root / "inbox/private" / place
    close(closed, mode)
    told = seal(root)
    name = f"inbox/private/{place}/" if place else "inbox/private/"
    reason = f"{root} does not give {name!r}: {DENIED}"
    assert told["failed"] == [["inbox/private/", reason]]
    assert told["sealed"] == {"inbox/a/": [3, 0], "inbox/z/": [3, 0]}
    assert (told["said"], told["unreadable"]) == (["inbox/a/", "inbox/z/"], [reason])
    closed.chmod(0o755)
    told = seal(root)
    assert (told["sealed"]["inbox/private/"], told["failed"]) == ([3, 0], [])


def test_a_hidden_folder_is_no_part_of_a_drop_and_may_be_closed(root):
    close_one = root / "inbox/private/.cache"
    close_one.mkdir()
    close(close_one, 0o700)
    told = seal(root)
    assert (told["sealed"]["inbox/private/"], told["failed"]) == ([3, 0], [])


def test_an_inbox_that_may_not_be_looked_into_is_named(root):
    close(root / "inbox", 0o700)
    assert seal(root) == {"error": f"{root} does not give 'inbox/': {DENIED}"}


def test_a_link_into_a_folder_that_may_not_be_looked_into_is_refused_by_name(root):
    secret = root.parent / "secret"
    secret.mkdir()
    shutil.copy(root / "inbox/a/images/p1.png", secret)
    (root / "inbox/private/images/p1.png").unlink()
    (root / "inbox/private/images/p1.png").symlink_to(secret / "p1.png")
    close(secret, 0o700)
    told = seal(root)
    secret.chmod(0o700)
    assert told["failed"] == []
    assert told["sealed"]["inbox/private/"] == [3, 1]
