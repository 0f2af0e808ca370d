import numpy as np
import pytest

from export.parity import compare_outputs


def answer(ids: list[str], scores: list[float], **heads: list[float]) -> dict:
    outputs = {name: np.array([values]) for name, values in heads.items()}
    item_ids = np.array([[item_id.encode() for item_id in ids]], object)
    return outputs | {"item_ids": item_ids, "scores": np.array([scores])}


BASE = answer(["a", "b", "c", ""], [3.0, 2.0, 1.0, -np.inf], p=[0.3, 0.2, 0.1, 0.0])


def test_difference_is_relative_above_one():
    received = answer(
        ["a", "b", "c", ""], [3.0 + 6e-6, 2.0, 1.0, -np.inf], p=[0.3, 0.2, 0.1, 0.0]
    )
    assert compare_outputs(BASE, received) == pytest.approx(2e-6, rel=1e-3)


def test_items_with_nearly_equal_scores_may_change_places():
    expected = answer(["a", "b"], [1.0, 1.0 - 1e-7], p=[0.9, 0.1])
    received = answer(["b", "a"], [1.0, 1.0 - 1e-7], p=[0.1, 0.9])
    assert compare_outputs(expected, received) == pytest.approx(1e-7, rel=0.1)


def test_last_place_may_go_to_an_item_that_ties_with_it():
    expected = answer(["a", "b"], [2.0, 1.0], p=[0.9, 0.1])
    received = answer(["a", "z"], [2.0, 1.0], p=[0.9, 0.7])
    assert compare_outputs(expected, received) == 0.0


@pytest.mark.parametrize(
    ("received", "message"),
    [
        (answer(["a", "b", "c", ""], [3.0, 2.0, 1.1, -np.inf]), "scores of row 0"),
        (answer(["a", "z", "c", ""], [3.0, 2.0, 1.0, -np.inf]), "lacks the item b'b'"),
        (answer(["b", "a", "c", ""], [3.0, 2.0, 1.0, -np.inf]), "scores of row 0"),
        (answer(["a", "b", "", ""], [3.0, 2.0, 1.0, -np.inf]), "place 2 of row 0"),
        (answer(["a", "b", "c", "d"], [3.0, 2.0, 1.0, -np.inf]), "place 3 of row 0"),
        (answer(["a", "b", "c", ""], [3.0, 2.0, 1.0, 0.5]), "scores of row 0"),
        (answer(["a", "b", "c", ""], [3.0, 2.0, np.nan, -np.inf]), "NaN"),
        (answer(["a", "b", "c"], [3.0, 2.0, 1.0]), "outputs are"),
    ],
    ids=["score", "id", "swap", "hole", "filled", "not masked", "nan", "shape"],
)
def test_other_answers_are_refused(received: dict, message: str):
    expected = {name: BASE[name] for name in ("item_ids", "scores")}
    with pytest.raises(ValueError, match=message):
        compare_outputs(expected, received)


def test_probability_of_the_same_item_must_agree():
    received = answer(
        ["a", "b", "c", ""], [3.0, 2.0, 1.0, -np.inf], p=[0.3, 0.25, 0.1, 0.0]
    )
    with pytest.raises(ValueError, match="p of row 0"):
        compare_outputs(BASE, received)
