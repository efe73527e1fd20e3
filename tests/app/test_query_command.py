import pytest

from storage.queries.recipes import recipe_names
from tests.lakes import cut, image_row, ingest, refused_row, segment_row

SHA = "0123456789abcdef" * 4


@pytest.fixture
def filled(command, lake):
    ingest(lake, "drop", [image_row("a")], [refused_row("polygon.odd")])
    rows = [segment_row("a", area_px=area, segment_id=SHA) for area in (30, 600)]
    cut(lake, "batch", ["a"], [*rows, segment_row("a", "text", area_px=12)])
    return command


def test_without_a_name_the_recipes_are_listed_with_their_defaults(command):
    out = command("query").out
    for name in recipe_names():
        assert name in out
    assert "limit=20" in out and "min_iou=0.5" in out and "unknown=false" in out
    rows = command("query", "--format", "json").json()
    assert [row["recipe"] for row in rows] == recipe_names()
    (largest,) = [row for row in rows if row["recipe"] == "largest_segments"]
    assert largest["parameters"][0] == {"name": "limit", "default": "20", "meaning": "rows shown"}


def test_a_recipe_answers_in_every_format(filled):
    rows = filled("query", "largest_segments", "--format", "json").json()
    assert [row["area_px"] for row in rows] == [600, 30, 12]
    rows = filled(
        "query", "largest_segments", "--param", "limit=1", "--param", "label=text", "--format",
        "json",
    ).json()  # fmt: skip
    assert [row["area_px"] for row in rows] == [12]
    csv = filled("query", "quarantine_by_rule", "--format", "csv").out
    assert csv.splitlines()[1].startswith("ingest,polygon.odd,1,")


def test_a_table_shows_the_start_of_an_id_and_the_others_all_of_it(filled):
    assert f"{SHA[:12]}…" in filled("query", "largest_segments").out
    assert SHA in filled("query", "largest_segments", "--format", "csv").out
    assert SHA in "".join(filled("sql", "SELECT segment_id FROM segments").out.split())


def test_a_recipe_looks_back(filled):
    answer = filled("query", "largest_segments", "--as-of", "2020-01-01", "--format", "json")
    assert answer.json() == []


def test_the_sql_of_a_recipe_can_be_changed_and_asked(filled, tmp_path):
    shown = filled("query", "largest_segments", "--show-sql").out
    (tmp_path / "mine.sql").write_text(shown.replace("DESC", "ASC"))
    values = [p for name in ("limit=9", "label=null", "dataset=null", "model_id=null")
              for p in ("--param", name)]  # fmt: skip
    rows = filled("sql", "-f", "mine.sql", *values, "--format", "json").json()
    assert [row["area_px"] for row in rows] == [12, 30, 600]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["biggest"], "Unknown query 'biggest'; expected one of cost_per_night"),
        (["../label_stats"], "Unknown query"),
        (["largest_segments", "--param", "limits=3"], "a value for $limits is not used"),
        (["largest_segments", "--param", "limit=many"], "Could not convert string 'many'"),
        (["largest_segments", "--param", "limit=-1"], "cannot be negative"),
        (["--param", "limit=3"], "expected the name of a recipe"),
        (["largest_segments", "--as-of", "2999-01-01"], "Expected a time that is past"),
    ],
)
def test_wrong_use_is_told_in_a_sentence(command, arguments, told):
    answer = command("query", *arguments)
    assert answer.code == 2
    assert answer.data == b""
    assert told in answer.err
