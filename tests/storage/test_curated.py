"""What is curated is what a person would reckon by hand from all decisions and annotations."""

import itertools
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.lake import Lake
from storage.retraction import plan_retraction, retract
from storage.schemas import TABLES, VIEWS
from storage.session import connect, read_only_query
from tests.lakes import NIGHT, cut, image_row, ingest, review_row, segment_row

SEGMENTS = {"a": ["a1", "a2"], "b": ["b1"], "c": ["c1"]}
IMAGE_OF = {segment: image for image, found in SEGMENTS.items() for segment in found}
DATASETS = {"a": ["comics", "street"], "b": ["comics"], "c": ["street"]}
CURATING = ("accept", "relabel", "fix")

DECISION = st.tuples(
    st.sampled_from([*IMAGE_OF, "withdrawn"]),
    st.sampled_from(["amy", "bob", "rules:old", "rules:new"]),
    st.sampled_from(["accept", "reject", "relabel", "fix", "reopen"]),
)


def annotation_row(image_id: str, annotation_id: str, **values: Any) -> dict[str, Any]:
    row = {
        "dataset": "comics", "drop_id": "drop", "annotation_id": annotation_id,
        "image_id": image_id, "category": "box", "bbox_xywh": [1.0, 2.0, 3.0, 4.0], "area_px": 12,
        "iscrowd": False, "source": "annotations.json", "rle": "P14j0000fQ1",
    }  # fmt: skip
    return row | values


def bring(lake: Lake, unit: str, *annotations: dict[str, Any], dataset: str = "comics") -> None:
    """Ingest annotations as a drop of their own, which is called as the unit is."""
    rows = [row | {"dataset": dataset, "drop_id": unit} for row in annotations]
    lake.append("annotations", rows, unit)
    drop = {"drop_id": unit, "dataset": dataset, "prefix": f"inbox/{unit[:3]}/",
            "sealed_at": NIGHT, "objects": 1, "bytes": 1, "files": []}  # fmt: skip
    lake.append("drops", [drop], unit)
    lake.commit_unit(stage="ingest", unit_id=unit, subject=unit, inputs=1, outputs=len(rows))


def review_rows(decisions: list[tuple[str, str, str]]) -> list[dict[str, Any]]:
    """Rows as they are recorded one after the other."""
    versions: dict[tuple[str, bool], int] = {}
    rows = []
    for number, (segment_id, reviewer, decision) in enumerate(decisions, start=1):
        chain = (segment_id, reviewer.startswith("rules:"))
        versions[chain] = versions.get(chain, 0) + 1
        changed = decision in ("relabel", "fix")
        fixed = decision == "fix"
        rows.append(
            review_row(
                segment_id,
                decision,
                image_id=IMAGE_OF.get(segment_id, "a"),
                label=f"label {number}" if changed else None,
                rle=f"mask {number}" if fixed else None,
                area_px=number if fixed else None,
                reviewer=reviewer,
                version=versions[chain],
                table_version=number,
            )
        )
    return rows


def reference(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The decision that counts of each segment, told in Python."""
    people: dict[str, Any] = {}
    rules: dict[str, Any] = {}
    for row in rows:
        chain = rules if row["reviewer"].startswith("rules:") else people
        chain[row["segment_id"]] = row
    counting = {
        segment: next(
            (
                chain[segment]
                for chain in (people, rules)
                if segment in chain and chain[segment]["decision"] != "reopen"
            ),
            None,
        )
        for segment in people | rules
    }
    return {segment: row for segment, row in counting.items() if row is not None}


def curated_reference(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    found = []
    for segment, row in reference(rows).items():
        if row["decision"] in CURATING and segment in IMAGE_OF:
            image = IMAGE_OF[segment]
            source = "rules" if row["reviewer"].startswith("rules:") else "review"
            fixed = row["decision"] == "fix"
            found += [
                (dataset, image, source, segment, row["label"] or "panel",
                 row["area_px"] if fixed else 12, row["rle"] or "P14j0000fQ1", row["reviewer"])
                for dataset in DATASETS[image]
            ]  # fmt: skip
    return sorted(found)


@pytest.fixture(scope="module")
def cut_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with images in two datasets and their segments, without any review."""
    root: Path = tmp_path_factory.mktemp("root")
    lake = Lake.open(str(root))
    ingest(
        lake, "i", [image_row(x, dataset=name) for x, names in DATASETS.items() for name in names]
    )
    cut(
        lake,
        "s",
        list(SEGMENTS),
        [segment_row(image, segment_id=x) for image, found in SEGMENTS.items() for x in found],
    )
    return root


_numbers = itertools.count()


@settings(max_examples=25)
@given(st.lists(DECISION, min_size=1, max_size=14))
def test_what_is_curated_is_what_the_decisions_say(cut_images: Path, decisions: Any):
    root = cut_images.with_name(f"{cut_images.name}-{next(_numbers)}")
    shutil.copytree(cut_images, root)
    lake, rows = Lake.open(str(root)), review_rows(decisions)
    lake.append("reviews", rows, "all of them")
    with connect(lake) as session:
        found = session.execute(
            "SELECT dataset, image_id, source, object_id, label, area_px, rle, reviewer"
            " FROM curated ORDER BY ALL"
        ).fetchall()
        assert found == curated_reference(rows)
        for until in range(len(rows) + 1):
            then = session.execute(
                "SELECT segment_id, decision, version, by_rules FROM decided($until)"
                " ORDER BY segment_id",
                {"until": until},
            ).fetchall()
            assert then == sorted(
                (segment, row["decision"], row["version"], row["reviewer"].startswith("rules:"))
                for segment, row in reference(rows[:until]).items()
            )
    shutil.rmtree(root)


def test_annotations_count_once_unless_they_are_crowds_or_were_replaced(local_lake: Lake):
    ingest(local_lake, "i", [image_row(x) for x in "ab"] + [image_row("a", dataset="street")])
    bring(
        local_lake,
        "mon",
        annotation_row("a", "1"),
        annotation_row("a", "2", iscrowd=True),
        annotation_row("b", "3", category="text"),
        annotation_row("unknown", "4"),
    )
    bring(local_lake, "tue", annotation_row("a", "1"), annotation_row("a", "1", category="text"))
    bring(local_lake, "other", annotation_row("a", "1"), dataset="street")
    local_lake.append("annotations", [annotation_row("a", "9")], "unfinished")
    ask = "SELECT dataset, image_id, object_id, label, source FROM curated ORDER BY ALL"
    with connect(local_lake) as session:
        assert session.execute(ask).fetchall() == [
            ("comics", "a", "1", "box", "annotation"),
            ("comics", "a", "1", "text", "annotation"),
            ("comics", "b", "3", "text", "annotation"),
            ("street", "a", "1", "box", "annotation"),
        ]
    bring(local_lake, "mon, changed", annotation_row("b", "3", category="bubble"))
    with connect(local_lake) as session:
        assert session.execute(ask).fetchall() == [
            ("comics", "a", "1", "box", "annotation"),
            ("comics", "a", "1", "text", "annotation"),
            ("comics", "b", "3", "bubble", "annotation"),
            ("street", "a", "1", "box", "annotation"),
        ]


def test_of_withdrawn_segments_nothing_is_curated_until_they_come_again(local_lake: Lake):
    ingest(local_lake, "i", [image_row("a")])
    row = segment_row("a", segment_id="a1")
    cut(local_lake, "s", ["a"], [row])
    local_lake.append("reviews", review_rows([("a1", "amy", "relabel")]), "r")
    curated = "SELECT object_id, label FROM curated"
    assert read_only_query(local_lake, curated).num_rows == 1
    retract(local_lake, plan_retraction(local_lake, "model", "model"))
    assert read_only_query(local_lake, curated).num_rows == 0
    assert local_lake.read("reviews").num_rows == 1
    cut(local_lake, "s", ["a"], [row])
    assert read_only_query(local_lake, curated).to_pylist() == [
        {"object_id": "a1", "label": "label 1"}
    ]


@pytest.mark.parametrize("name", VIEWS)
def test_the_views_have_the_columns_that_their_page_tells(local_lake: Lake, name: str):
    empty = read_only_query(local_lake, f"FROM {name}")
    assert empty.column_names == VIEWS[name].names
    assert [str(kind) for kind in empty.schema.types] == [
        str(kind).replace("large_", "") for kind in VIEWS[name].types
    ]


def test_views_and_tables_have_different_names():
    assert not VIEWS.keys() & TABLES.keys()


def test_rows_that_depend_on_a_version_are_appended_to_it_or_not_at_all(lake: Lake):
    rows = review_rows([("a1", "amy", "accept"), ("a1", "amy", "reject")])
    assert lake.table_to_write("reviews").version() == 0
    assert lake.append_at("reviews", rows[:1], 0, {"segmill": "review"})
    assert not Lake(lake.root).append_at("reviews", rows[1:], 0, {})
    assert lake.version("reviews") == 1
    assert lake.append_at("reviews", rows[1:], 1, {})
    assert lake.read("reviews").num_rows == 2
    with pytest.raises(ValueError, match="got none"):
        lake.append_at("reviews", [], 2, {})
