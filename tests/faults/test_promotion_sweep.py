"""SIGKILL wherever a model is registered, promoted or rolled back; and several promoters at once.

At any time exactly one model is live, whole and registered: the one before or the one after. What
is not whole is no model. The same command again ends it.
"""

import itertools
import os
import shutil
import signal

import boto3
import pytest

from storage.errors import DamagedFileError
from storage.model_store import MANIFEST, ModelStore
from storage.promotions import read_promotions
from tasks.live_model import live_model
from tasks.promote_model import promote_by_hand
from tests.evaluations import measure
from tests.faults.counting_s3 import CountingS3
from tests.faults.promotion_process import act, compete
from tests.faults.sweeping import night_processes, processes_with_file_faults, stop_server
from tests.model_files import put_models, weights_file
from tests.s3_server import s3_process

ROUNDS = int(os.environ.get("SEGMILL_SWEEP_ROUNDS", "25"))
STEP = int(os.environ.get("SEGMILL_SWEEP_STEP", "1"))
ACTIONS = ("register", "promote", "gate", "rollback")
FOLDER_BREAKS = {"register": "manifest first", "gate": "in two steps"}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]


class Case:
    """A root before an action: what is done to it, and what is right before and after.

    Attributes:
        arguments: What `act` takes after the root.
        before: The models that were promoted, in order.
        after: These and what the action adds.
        registered: How many models there are afterwards.
    """

    def __init__(self, root, folder, action):
        self.root, self.action = root, action
        self.first = live_model(root).model_id
        first, second = (model.model_id for model in put_models(root, folder, "ab"))
        self.before, self.registered = [first], 3
        if action == "promote":
            self.before = []  # the first one of all, which keeps the model that ships too
        else:
            promote_by_hand(root, first, "a test")
        if action == "register":
            target, self.registered = str(weights_file(folder / "new.safetensors", 99)), 4
        elif action == "rollback":
            promote_by_hand(root, second, "a test")
            self.before.append(second)
            target = first
        else:
            target = first if action == "promote" else second
        measure(ModelStore(root).lake, first)
        measure(ModelStore(root).lake, second, **{"miou@1.centre": 0.05})
        live = self.before[-1] if self.before else self.first
        self.arguments = (action, target, live)
        self.after = self.before + ([] if action == "register" else [target])

    def violations(self, ended):
        """What is wrong with the root; `ended` says that the action was done to its end."""
        store = ModelStore(self.root)
        history = [each.model_id for each in read_promotions(store.lake)]
        allowed = [self.after] if ended else [self.before, self.after]
        wrong = [] if history in allowed else [f"promoted were {history}"]
        live = live_model(self.root).model_id
        if live != (history[-1] if history else self.first):
            wrong.append(f"{live} is live")
        models = {model.model_id: model for model in store.models()}
        for model_id in [live] if history else []:
            store.check(models[model_id])
        if ended and len(models) != self.registered:
            wrong.append(f"{len(models)} models are registered")
        return wrong + self._half_models(store, models)

    def _half_models(self, store, models):
        keys = {info.key for info in store.objects.list("models/")}
        whole = {key.split("/")[1] for key in keys if key.endswith(f"/{MANIFEST}")}
        wrong = [f"{model_id} has no manifest" for model_id in models.keys() - whole]
        wrong += [
            f"{model_id} has a manifest, but no weights"
            for model_id in whole
            if f"models/{model_id}/model.safetensors" not in keys
        ]
        for model in models.values():
            store.check(model)
        return wrong


def finish(processes, case):
    process = processes.Process(target=act, args=(case.root, *case.arguments))
    process.start()
    process.join(120)
    return process.exitcode


# In a folder -----------------------------------------------------------------------------------


@pytest.fixture
def processes(tmp_path, monkeypatch):
    with processes_with_file_faults(tmp_path, monkeypatch) as found:
        yield found


def sweep_folder(processes, folder, action, points, broken=None):
    """Kill an action at some of the calls by which it changes files; returns what was wrong then.

    Args:
        processes: They see file calls.
        folder: An empty folder.
        action: What is done.
        points: Chooses among the numbers of the calls.
        broken: A mistake to make; the sweep must find it.
    """
    case = Case(str(folder / "root"), folder / "made", action)
    shutil.copytree(folder / "root", folder / "base")
    log = folder / "calls.log"
    watched = processes.Process(
        target=act,
        args=(case.root, *case.arguments, broken),
        kwargs={"watch": (str(folder / "root"), -1, 0, str(log))},
    )
    watched.start()
    watched.join(120)
    assert watched.exitcode == 0
    calls = log.read_text().splitlines()
    assert len(calls) > 5
    assert not case.violations(ended=True)
    wrong, deaths, chosen = [], 0, list(points(range(len(calls))))
    for number, at in enumerate(chosen):
        shutil.rmtree(folder / "root")
        shutil.copytree(folder / "base", folder / "root")
        victim = processes.Process(
            target=act,
            args=(case.root, *case.arguments, broken),
            kwargs={"watch": (str(folder / "root"), at, number % 2, None)},
        )
        victim.start()
        victim.join(120)
        deaths += victim.exitcode == -signal.SIGKILL
        found = case.violations(ended=False)
        if not found:
            assert finish(processes, case) == 0
            found = case.violations(ended=True)
        wrong += [(at, calls[at], each) for each in found]
    assert deaths > 0.8 * len(chosen)
    return wrong


@pytest.mark.sweep
@pytest.mark.parametrize("action", ACTIONS)
def test_killed_at_any_call_one_model_is_live(processes, tmp_path, action):
    assert sweep_folder(processes, tmp_path, action, lambda calls: calls[::STEP]) == []


@pytest.mark.parametrize("action", ["register", "gate"])
def test_killed_at_some_calls_one_model_is_live(processes, tmp_path, action):
    assert sweep_folder(processes, tmp_path, action, lambda calls: calls[:: len(calls) // 6]) == []


@pytest.mark.sweep
@pytest.mark.parametrize(("action", "broken"), FOLDER_BREAKS.items())
def test_the_sweep_of_calls_catches_what_is_not_done_at_once(processes, tmp_path, action, broken):
    assert sweep_folder(processes, tmp_path, action, lambda calls: calls, broken)


# In a bucket -----------------------------------------------------------------------------------


@pytest.fixture
def s3(monkeypatch):
    with CountingS3().running() as server:
        point_at(server.url, monkeypatch)
        yield server


def point_at(url, monkeypatch):
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3", endpoint_url=url).create_bucket(Bucket="sweep")


@pytest.fixture
def s3_processes(s3, tmp_path, monkeypatch):
    """Depends on the server, because they inherit its address."""
    monkeypatch.setenv("SEGMILL_MODELS_CACHE", str(tmp_path / "cache"))
    stop_server()
    yield night_processes()
    stop_server()


def sweep_bucket(s3, processes, folder, action, step, broken=None):
    """As `sweep_folder`, with the requests that change a bucket."""

    def start(case):
        told = processes.Event()
        process = processes.Process(target=act, args=(case.root, *case.arguments, broken, told))
        process.start()
        return process, told

    # The servers of a process keep what they have in one place: each test has roots of its own.
    case = Case(f"s3://sweep/{folder.name}/undisturbed", folder / "made", action)
    process, told = start(case)
    s3.watch()
    told.set()
    process.join(120)
    assert process.exitcode == 0
    writes = list(s3.writes)
    assert len(writes) > 3
    assert not case.violations(ended=True)
    points = [(at, answered) for at in range(len(writes)) for answered in (False, True)][::step]
    wrong, deaths = [], 0
    for at, answered in points:
        case = Case(f"s3://sweep/{folder.name}/killed-{at}-{answered}", folder / "made", action)
        victim, told = start(case)
        s3.watch(victim.pid, at, answered)
        told.set()
        victim.join(120)
        deaths += victim.exitcode == -signal.SIGKILL
        s3.watch()
        found = case.violations(ended=False)
        if not found:
            assert finish(processes, case) == 0
            found = case.violations(ended=True)
        wrong += [(at, answered, writes[at], each) for each in found]
    assert deaths > 0.8 * len(points)
    return wrong


@pytest.mark.sweep
@pytest.mark.parametrize("action", ACTIONS)
def test_killed_at_any_request_one_model_is_live(s3, s3_processes, tmp_path, action):
    assert sweep_bucket(s3, s3_processes, tmp_path, action, 1) == []


def test_killed_at_some_requests_one_model_is_live(s3, s3_processes, tmp_path):
    assert sweep_bucket(s3, s3_processes, tmp_path, "gate", 5) == []


@pytest.mark.sweep
def test_the_sweep_of_requests_catches_what_is_not_done_at_once(s3, s3_processes, tmp_path):
    assert sweep_bucket(s3, s3_processes, tmp_path, "gate", 1, "in two steps")


# Several at once -------------------------------------------------------------------------------


def race(root, folder, rounds, promoters, broken=None):
    """Let some promote at the same time, again and again; returns the rounds that went wrong."""
    stop_server()
    processes = night_processes()
    models = [model.model_id for model in put_models(root, folder, "abcdefgh"[: 2 * promoters])]
    pairs = list(zip(models[::2], models[1::2], strict=True))
    start, decided = processes.Barrier(promoters), processes.Barrier(promoters)
    outcomes = processes.Queue()
    rivals = [
        processes.Process(
            target=compete, args=(root, pair, rounds, start, decided, outcomes, broken)
        )
        for pair in pairs
    ]
    for rival in rivals:
        rival.start()
    told = sorted(outcomes.get(timeout=240) for _ in range(rounds * promoters))
    for rival in rivals:
        rival.join(60)
        assert rival.exitcode == 0
    stop_server()
    wrong = []
    for number, of_round in itertools.groupby(told, key=lambda each: each[0]):
        _, promoted, winners = zip(*of_round, strict=True)
        winner = [model for model, other in zip(promoted, winners, strict=True) if other is None]
        losers = {other for other in winners if other is not None}
        if len(winner) != 1 or losers != set(winner):
            wrong.append((number, winner, losers))
    return wrong, told


@pytest.mark.parametrize("where", ["folder", pytest.param("bucket", marks=pytest.mark.sweep)])
def test_of_several_promoters_one_wins_and_the_others_know_it(tmp_path, monkeypatch, where):
    if where == "folder":
        root, rounds = str(tmp_path / "root"), ROUNDS
        wrong, told = race(root, tmp_path / "made", rounds, 4)
        history = read_promotions(ModelStore(root).lake)
    else:
        with s3_process() as url:
            point_at(url, monkeypatch)
            root, rounds = "s3://sweep/race", max(3, ROUNDS // 5)
            wrong, told = race(root, tmp_path / "made", rounds, 3)
            history = read_promotions(ModelStore(root).lake)
    assert wrong == []
    winners = [model for _, model, other in told if other is None]
    assert [each.model_id for each in history] == winners
    assert len(history) == rounds
    for before, after in itertools.pairwise(history):
        assert after.previous_id == before.model_id


def test_the_race_catches_promotions_that_do_not_look(tmp_path):
    root = str(tmp_path / "root")
    wrong, _ = race(root, tmp_path / "made", 1, 3, "without numbers")
    assert wrong
    with pytest.raises(DamagedFileError, match="promotion 2 is missing, but 1 is there"):
        read_promotions(ModelStore(root).lake)
