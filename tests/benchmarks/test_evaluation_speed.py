"""`benchmarks.evaluation_speed` on a set of a few users."""

import json

import numpy as np

from benchmarks import evaluation_speed
from benchmarks.evaluation_speed import Size, simulate_sequences
from tfrec.data.store import TEST, VALIDATION

TOY = Size(num_users=40, num_items=30, num_events=400, max_seconds=60.0)


def test_drawn_events_have_the_size_and_two_held_out_events_a_user():
    sequences = simulate_sequences(TOY, seed=0)
    lengths = np.diff(sequences.offsets)
    assert len(lengths) == TOY.num_users
    assert lengths.sum() == len(sequences.item_index) == TOY.num_events
    assert lengths.min() >= 3
    for split in (TEST, VALIDATION):
        assert (sequences.split == split).sum() == TOY.num_users
    assert (sequences.split[sequences.offsets[1:] - 1] == TEST).all()


def test_every_user_is_ranked_and_random_scores_are_no_better_than_chance():
    size = Size(num_users=2000, num_items=100, num_events=20_000, max_seconds=60.0)
    result = evaluation_speed.measure(size, seed=0)
    assert result["num_queries"] == 2000
    # A tenth of the items is listed, and up to a fifth of them was seen before.
    assert 0.07 < result["HR@10"] < 0.13
    parts = ("scoring_seconds", "ranking_seconds", "interval_seconds")
    assert sum(result[part] for part in parts) <= result["seconds"] + 1e-6


def test_a_goal_that_is_missed_is_an_exit_code_where_asked(
    tmp_path, monkeypatch, capsys
):
    out = tmp_path / "out.json"
    monkeypatch.setattr(evaluation_speed, "SIZES", {"beauty": TOY})
    assert evaluation_speed.main(["--size", "beauty", "--json", str(out)]) == 0
    assert json.loads(out.read_text())["sizes"]["beauty"]["num_queries"] == 40
    assert "Full-ranking evaluation" in capsys.readouterr().out
    hurried = TOY._replace(max_seconds=0.0)
    monkeypatch.setattr(evaluation_speed, "SIZES", {"beauty": hurried})
    assert evaluation_speed.main(["--size", "beauty"]) == 0
    assert evaluation_speed.main(["--size", "beauty", "--check"]) == 1
