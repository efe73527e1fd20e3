import pytest

from app.predict import output_names


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/p1.png", "a/p2.png"], ["p1.png", "p2.png"]),
        (["a/p.png", "b/p.png", "a/q.png"], ["a_p.png", "b_p.png", "q.png"]),
        (["x/y/p.png", "x/p.png"], ["y_p.png", "p.png"]),
        (["a/p.png", "b/P.PNG"], ["a_p.png", "b_P.PNG"]),
        (["a/p.png", "a/p.png", "a/../a/p.png"], ["p.png", "p-2.png", "p-3.png"]),
        (["a/b_p.png", "b/p.png", "c/p.png"], ["b_p.png", "b_p-2.png", "c_p.png"]),
        (["a_b/p.png", "a/b/p.png"], ["a_b_p.png", "a_b_p-2.png"]),
        ([], []),
    ],
)
def test_results_are_called_after_their_image_and_none_is_called_the_same(tmp_path, paths, names):
    assert output_names([tmp_path / path for path in paths]) == names
