"""Images that cannot be decoded: named one by one, and the others are done."""

import pytest

import tasks.ingest_drops
from flows.nightly import run_nightly
from flows.running import InProcess
from tasks.quarantine import QuarantineLimitError
from tests.bad_input import image_cases  # noqa: F401  it registers cases
from tests.bad_input.bad_drop import CASES, good_drop
from tests.drops import RED, box_picture, write_picture

POISONS = [case for case in CASES.values() if case.verdict == "image"]


@pytest.fixture
def quiet_mill(mill):
    """Nobody reads the page of these nights."""
    mill.request = mill.request.model_copy(update={"report": False})
    mill.settings.batch_images = 32
    return mill


def write_good_images(folder, count):
    for number in range(count):
        # No two alike: equal bytes are one image.
        left, top = number % 50, number // 50
        write_picture(folder / f"good-{number:04}.png", box_picture([((left, top, 8, 6), RED)]))


def poison(case, folder):
    """The image file that a case of the bad-input matrix is about."""
    drop = good_drop(folder)
    before = set(drop.folder.rglob("*.*"))
    case.spoil(drop)
    changed = set(drop.folder.rglob("*.*")) - before
    (found,) = changed or {drop.picture}
    return found


def write_poisons(target, cases, folder):
    """Write an image of each case; returns the rule that each name breaks."""
    rules = {}
    for case in cases:
        found = poison(case, folder / str(case.number))
        name = f"poison-{case.number}{found.suffix}"
        (target / name).write_bytes(found.read_bytes())
        rules[name] = case.rule
    return rules


def night(mill):
    summary, _ = run_nightly(mill.request, mill.settings, InProcess())
    return summary


def balance(mill, files):
    """Files that became neither an image nor a row in quarantine, and what was set aside."""
    named = dict(mill.ask("SELECT file, rule FROM quarantine"))
    stored = {name for (name,) in mill.ask("SELECT file_name FROM images")}
    return set(files) - stored - named.keys(), named


@pytest.mark.slow
def test_of_a_thousand_images_one_of_each_kind_of_poison_is_named_and_the_others_are_done(
    quiet_mill, tmp_path
):
    drop = quiet_mill.inbox / "monday"
    write_good_images(drop, 1000 - len(POISONS))
    rules = write_poisons(drop, POISONS, tmp_path / "poisons")
    (drop / "_DONE").touch()
    files = [path.name for path in drop.iterdir() if path.name != "_DONE"]
    assert len(files) == 1000
    summary = night(quiet_mill)
    summary.ingest.raise_for_bad_drops()
    assert balance(quiet_mill, files) == (set(), rules)
    done = quiet_mill.ask("SELECT count(DISTINCT image_id), count(*) FROM segments")
    assert done == [(1000 - len(POISONS), 1000 - len(POISONS))]
    assert summary.segment.images == 1000 - len(POISONS)


@pytest.mark.slow
@pytest.mark.parametrize("case", POISONS, ids=lambda case: case.rule)
def test_a_poison_alone_is_the_only_one_that_is_named(quiet_mill, tmp_path, case):
    """One in twenty, not in a thousand."""
    drop = quiet_mill.inbox / "monday"
    write_good_images(drop, 19)
    rules = write_poisons(drop, [case], tmp_path / "poisons")
    (drop / "_DONE").touch()
    summary = night(quiet_mill)
    summary.ingest.raise_for_bad_drops()
    files = [path.name for path in drop.iterdir() if path.name != "_DONE"]
    assert balance(quiet_mill, files) == (set(), rules)
    assert summary.segment.images == 19


def test_it_is_caught_where_the_bad_ones_are_left_out_in_silence(quiet_mill, tmp_path, monkeypatch):
    drop = quiet_mill.inbox / "monday"
    write_good_images(drop, 5)
    rules = write_poisons(drop, POISONS[:1], tmp_path / "poisons")
    (drop / "_DONE").touch()
    match = tasks.ingest_drops.match_documents

    def silent(*args, **kwargs):
        content = match(*args, **kwargs)
        content.findings.clear()
        return content

    monkeypatch.setattr(tasks.ingest_drops, "match_documents", silent)
    night(quiet_mill)
    files = [path.name for path in drop.iterdir() if path.name != "_DONE"]
    lost, _ = balance(quiet_mill, files)
    assert lost == rules.keys()


@pytest.mark.parametrize(("bad", "fails"), [(6, False), (7, True)])
def test_a_night_fails_loudly_when_more_than_three_tenths_are_bad(quiet_mill, bad, fails):
    drop = quiet_mill.inbox / "monday"
    write_good_images(drop, 20 - bad)
    for number in range(bad):
        (drop / f"poison-{number}.jpg").write_bytes(b"no image" + bytes(number))
    (drop / "_DONE").touch()
    summary = night(quiet_mill)
    # What is good is stored in any case.
    assert summary.segment.images == 20 - bad
    assert quiet_mill.ask("SELECT count(*) FROM quarantine") == [(bad,)]
    if fails:
        with pytest.raises(QuarantineLimitError, match=r"35% of .*/monday/ is in quarantine"):
            summary.ingest.raise_for_bad_drops()
    else:
        summary.ingest.raise_for_bad_drops()
