import numpy as np
import pytest
import tensorflow as tf

from tests.models.test_text_fusion import COUNTS, NUM_ITEMS, searching_batch
from tests.models.toys import SCHEMA
from tfrec.config import RetrievalConfig
from tfrec.features.item_table import ItemTable
from tfrec.models.retrieval_model import RetrievalModel
from tfrec.models.trained_texts import TrainedTexts
from tfrec.text.encoder import TextEncoder
from tfrec.text.tokens import TextTokens

DIM = 3


class BagOfTokens(TextEncoder):
    """The sum of the vectors of a text's tokens, so that every row is told apart."""

    def __init__(self) -> None:
        super().__init__(text_dim=DIM, max_length=4, normalize=False)
        self.table = self.add_weight(
            name="table", shape=(20, DIM), initializer="random_normal"
        )

    def hash_parts(self):
        return []

    def token_states(self, token_ids, padding_mask, training):
        return tf.gather(self.table, token_ids)


def tokens_of(lengths: list[int]) -> TextTokens:
    """Text r has the tokens r, r + 1, ... of its length; width 4."""
    ids = np.arange(len(lengths))[:, None] + np.arange(4)
    mask = np.arange(4) < np.array(lengths)[:, None]
    return TextTokens(ids.astype(np.int32) * mask, mask)


ITEM_TOKENS = tokens_of([0, 0, 2, 1, 3, 1, 4, 2, 2, 0])
SEARCH_TOKENS = tokens_of([0, 3, 1])


def trained(num_fresh: int = 3) -> TrainedTexts:
    tf.keras.utils.set_random_seed(0)
    return TrainedTexts(BagOfTokens(), ITEM_TOKENS, SEARCH_TOKENS, num_fresh=num_fresh)


def test_all_texts_are_encoded_as_one_by_one_and_empty_ones_are_zero():
    texts = trained()
    table = texts.encoder.table.numpy()
    vectors = texts.encode_items()
    for row, (ids, mask) in enumerate(zip(*ITEM_TOKENS, strict=True)):
        expected = table[ids[mask]].mean(axis=0) if mask.any() else np.zeros(DIM)
        np.testing.assert_allclose(vectors[row], expected, atol=1e-6)
    searches = texts.encode_searches()
    assert searches is not None
    assert searches.shape == (3, DIM)
    assert not searches[0].any()


def test_a_step_replaces_just_so_many_of_the_items_that_it_is_given():
    texts = trained(num_fresh=2)
    kept = tf.fill((NUM_ITEMS + 2, DIM), 9.0)
    rows = texts(kept, tf.constant([4, 4, 6, 2, 4])).numpy()
    changed = np.flatnonzero((rows != 9.0).any(axis=1))
    assert len(changed) == 2
    assert set(changed) <= {2, 4, 6}
    np.testing.assert_allclose(rows[changed], texts.encode_items()[changed], atol=1e-6)


def test_an_item_without_text_becomes_zero_and_is_no_error():
    rows = trained()(tf.fill((NUM_ITEMS + 2, DIM), 9.0), tf.constant([9])).numpy()
    assert not rows[9].any()


def model_with(texts: TrainedTexts, **settings: object) -> RetrievalModel:
    defaults = {"embedding_dim": 8, "feedforward_dim": 8, "dropout": 0.0}
    model = RetrievalModel(
        RetrievalConfig.model_validate({**defaults, **settings}),
        SCHEMA,
        ItemTable(COUNTS, {}, {}, {}, {}, texts.encode_items()),
        has_repeat_bias=False,
        context_sizes={},
        text_pooling="mean",
        search_texts=texts.encode_searches(),
        trained_texts=texts,
    )
    model(searching_batch())
    return model


@pytest.mark.parametrize("loss", ["softmax", "sampled_softmax"])
def test_the_loss_reaches_the_encoder(loss):
    model = model_with(trained(), loss=loss)
    with tf.GradientTape() as tape:
        value = model(searching_batch(), training=True)
    (gradient,) = tape.gradient(value, model.second_variables)
    assert np.abs(tf.convert_to_tensor(gradient)).max() > 0


def test_the_encoder_has_an_optimizer_of_its_own():
    model = model_with(trained())
    names = {v.ref() for v in model.first_variables}
    assert not names & {v.ref() for v in model.second_variables}
    assert len(names) + len(model.second_variables) == len(model.trainable_variables)
    model.compile(optimizer=tf.keras.optimizers.SGD(0.0))
    model.second_optimizer = tf.keras.optimizers.SGD(1.0)
    before = [v.numpy() for v in model.trainable_variables]
    model.train_step(searching_batch())
    moved = {
        v.ref()
        for v, old in zip(model.trainable_variables, before, strict=True)
        if not np.array_equal(v, old)
    }
    assert moved == {v.ref() for v in model.second_variables}


def test_refreshed_texts_are_those_of_the_encoder_as_it_is():
    model = model_with(trained())
    texts = model.trained_texts
    assert texts is not None
    texts.encoder.table.assign_add(tf.ones_like(texts.encoder.table))
    before = model.item_vectors().numpy()
    model.refresh_texts()
    rows = model.candidate_tower.text_rows
    assert rows is not None
    np.testing.assert_allclose(rows, texts.encode_items(), atol=1e-6)
    assert np.abs(model.item_vectors().numpy() - before).max() > 1e-3
    assert rows.ref() in {v.ref() for v in model.weights}  # Saved with the others.
