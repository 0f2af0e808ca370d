import numpy as np
import pytest
import tensorflow as tf

from tests.synthetic import make_sequences
from tests.training.conftest import make_config
from tfrec.config import ExperimentConfig
from tfrec.data.store import EventSequences
from tfrec.features.item_table import ItemTable
from tfrec.models.retrieval_model import RetrievalModel
from tfrec.training import text_matching
from tfrec.training.text_matching import fit_text_match

NUM_GROUPS, GROUP_SIZE = 4, 6
NUM_ITEMS = NUM_GROUPS * GROUP_SIZE
COUNTS = np.concatenate([[0, 0], np.full(NUM_ITEMS, 5)]).astype(np.int64)


def item_text() -> np.ndarray:
    """Items of a group say nearly the same."""
    rng = np.random.default_rng(0)
    said = np.repeat(np.eye(NUM_GROUPS), GROUP_SIZE, axis=0)
    said = said + 0.1 * rng.normal(size=said.shape)
    return np.concatenate([np.zeros((2, NUM_GROUPS)), said]).astype(np.float32)


def loyal_shoppers(num_users: int = 200) -> EventSequences:
    """Shoppers stay within one group, at any of its items."""
    rng = np.random.default_rng(1)
    groups = rng.integers(0, NUM_GROUPS, (num_users, 1))
    within = rng.integers(0, GROUP_SIZE, (num_users, 6))
    return make_sequences(list(groups * GROUP_SIZE + within))


@pytest.fixture
def config(tmp_path) -> ExperimentConfig:
    return make_config(tmp_path)


def build_model(config: ExperimentConfig, *, match_dim: int = 3) -> RetrievalModel:
    tf.keras.utils.set_random_seed(0)
    model = RetrievalModel(
        config.retrieval,
        config.experiment_schema,
        ItemTable(COUNTS, {}, {}, {}, {}, item_text()),
        has_repeat_bias=False,
        context_sizes={},
        text_match_dim=match_dim,
    )
    model.candidate_tower.build(None)
    return model


def test_likeness_counts_where_shoppers_stay_with_what_is_alike(config):
    model = build_model(config)
    about = fit_text_match(config, loyal_shoppers(), model, None)
    assert model.text_match is not None
    assert float(model.text_match.is_fitted) == 1.0
    assert about["loss_with"] < about["loss_without"] - 0.1
    # Within a group it is one of six: log(6) at best, log(24) without a clue.
    assert about["loss_with"] < np.log(GROUP_SIZE) + 0.3
    assert about["gain"] > np.log(2.0)  # It started at softplus(0).


def test_nothing_but_the_match_moves(config):
    model = build_model(config)
    fitted = model.text_match
    assert fitted is not None
    sequences = loyal_shoppers()
    fit_text_match(config, sequences, model, None)  # Creates the other weights.
    own = {id(w) for w in fitted.weights}
    others = [w for w in model.weights if id(w) not in own]
    before = [w.numpy() for w in others]
    fit_text_match(config, sequences, model, None)
    for weight, value in zip(others, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_a_fit_that_does_not_help_others_is_not_taken(config, monkeypatch):
    def spoil(loss, weights, *rest, **named):
        if len(weights) > 1:  # Not the factor of all scores alone.
            _, _, _, gain, _, _ = weights
            gain.assign(60.0)

    monkeypatch.setattr(text_matching, "_descend", spoil)
    model = build_model(config)
    rng = np.random.default_rng(2)
    anywhere = make_sequences(list(rng.integers(0, NUM_ITEMS, (100, 6))))
    about = fit_text_match(config, anywhere, model, None)
    assert about["loss_with"] > about["loss_without"]
    assert model.text_match is not None
    assert float(model.text_match.is_fitted) == 0.0


def test_a_model_that_compares_no_texts_has_nothing_to_fit(config):
    model = build_model(config, match_dim=0)
    assert fit_text_match(config, loyal_shoppers(), model, None) == {}


def test_items_of_the_history_are_no_alternatives_where_they_are_excluded():
    logits = tf.constant([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    # Item index 2 is column 0; 0 is padding and 1 unknown.
    found = text_matching._without_seen(logits, tf.constant([[2, 4, 0], [1, 3, 3]]))
    low = logits.dtype.min
    np.testing.assert_array_equal(found, [[low, 2.0, low], [4.0, low, 6.0]])


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([1.0, 1.0, 1.0, 1.0], True),  # Smaller by 1, always.
        ([1.0, 3.0, 1.0, 2.0], False),  # By .25 +- .48 in the mean.
        ([2.0, 2.0, 2.0, 2.0], False),
        ([3.0, 3.0, 3.0, 3.0], False),
    ],
)
def test_a_loss_is_smaller_where_that_is_no_chance(losses, expected):
    others = np.full(4, 2.0)
    assert text_matching._is_smaller(np.array(losses), others) is expected


def test_one_user_held_out_proves_nothing():
    assert not text_matching._is_smaller(np.array([1.0]), np.array([2.0]))
