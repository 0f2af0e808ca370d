import numpy as np
import tensorflow as tf

from tests.models.toys import rich_item_table
from tfrec.models.candidate_tower import CandidateTower


def built_tower(*, id_dropout: float = 0.0) -> CandidateTower:
    tf.keras.utils.set_random_seed(0)
    tower = CandidateTower(4, rich_item_table(), id_dropout=id_dropout)
    tower(tf.range(8))
    return tower


def test_padding_is_zero_and_items_differ():
    vectors = built_tower()(tf.range(8)).numpy()
    assert not vectors[0].any()
    assert len(np.unique(vectors.round(6), axis=0)) == 7  # The cold one is unknown.


def test_items_without_training_are_told_apart_by_attributes_alone():
    tower = built_tower()
    tower.id_table.assign_add(tf.ones_like(tower.id_table))
    vectors = tower(tf.range(8)).numpy()
    # Item 7 is cold and has no attributes: it is the unknown item.
    np.testing.assert_array_equal(vectors[7], vectors[1])


def test_vector_is_the_sum_of_id_levels_and_numbers():
    tower = built_tower()
    levels = tower.attributes.tables["category"].embeddings.numpy()
    kernel = tower.attributes.number_projection.kernel.numpy()
    vector = tower(tf.constant([5])).numpy()[0]
    # Item 5: category levels 2 and 4, price -1 (known).
    expected = tower.id_table.numpy()[5] + levels[[2, 4]].mean(0) + [-1.0, 1.0] @ kernel
    np.testing.assert_allclose(vector, expected, rtol=1e-5, atol=1e-7)


def test_hidden_ids_leave_the_unknown_row_and_attributes():
    tower = built_tower(id_dropout=0.999999)
    items = tf.constant([2, 3])
    trained = tower(items, tower.id_rows(items, training=True))
    shift = tower(tf.constant([2, 3])) - tf.gather(tower.id_table, [2, 3])
    np.testing.assert_allclose(trained, shift + tower.id_table[1], atol=1e-6)


def test_ids_are_hidden_in_training_alone():
    tower = built_tower(id_dropout=0.999999)
    np.testing.assert_array_equal(tower(tf.range(8)), built_tower()(tf.range(8)))
    rows = tower.id_rows(tf.range(8), training=True)
    assert rows.numpy().tolist() == [1] * 8


def test_gradients_reach_every_weight_and_only_rows_that_training_saw():
    tower = built_tower()
    with tf.GradientTape() as tape:
        vectors = tower(tf.range(8))
        total = tf.reduce_sum(vectors * tf.random.stateless_normal((8, 4), (0, 0)))
    gradients = tape.gradient(total, tower.trainable_weights)
    dense = [tf.convert_to_tensor(gradient).numpy() for gradient in gradients]
    assert all(np.abs(gradient).max() > 0 for gradient in dense)
    (place,) = [
        i
        for i, weight in enumerate(tower.trainable_weights)
        if weight is tower.id_table
    ]
    # Row 0 is padding; the cold item 7 uses the row of the unknown item.
    touched = np.abs(dense[place]).max(axis=1) > 0
    assert touched.tolist() == [False, True, True, True, True, True, True, False]
