"""Item weights and user weights, head by head."""

import numpy as np
import pytest
import tensorflow as tf

from tests.models.test_fusion import (
    NUM_HEADS,
    WIDTHS,
    arrays,
    inputs,
    make,
    normalised,
    softmax,
)


@pytest.mark.parametrize("is_shared", [True, False])
def test_additive_is_item_features_by_item_weights_plus_user_features_by_user_weights(
    is_shared: bool,
):
    """Also where several interests give every candidate a query of its own."""
    fusion, (fields, numbers) = make("additive"), inputs()
    if not is_shared:
        others = np.random.default_rng(5).normal(size=(2, 3, 4)).astype(np.float32)
        fields["query"] = tf.constant(others)
    of_item = ("candidate", "item_brand")
    shopper = [name for name in WIDTHS if name not in of_item]
    f = np.concatenate(
        [normalised(fusion.norm, arrays(fields, *shopper)), numbers], axis=-1
    )
    g = normalised(fusion.shopper_norm, arrays(fields, *of_item))
    item_kernel, item_bias = fusion.item_weights.get_weights()
    user_kernel, user_bias = fusion.user_weights.get_weights()
    for row, column in np.ndindex(2, 3):
        item, query = fields["candidate"][row, column], fields["query"][row, column]
        w = (item.numpy() @ item_kernel + item_bias).reshape(NUM_HEADS, -1)
        x = (query.numpy() @ user_kernel + user_bias).reshape(NUM_HEADS, -1)
        expected = w @ f[row, column] + x @ g[row, column]
        np.testing.assert_allclose(
            fusion(fields, numbers)[row, column], expected, rtol=1e-3, atol=1e-4
        )


def test_additive_makes_the_weights_of_a_query_once_a_request():
    fusion, (fields, numbers) = make("additive"), inputs()
    seen: list[tuple[int, ...]] = []
    dense = fusion.user_weights
    setattr(fusion, "user_weights", lambda q: seen.append(q.shape) or dense(q))  # noqa: B010
    fusion(fields, numbers)
    assert seen == [(2, 1, 4)]


def test_what_all_candidates_share_cancels_in_the_softmax_over_them():
    fusion, (fields, numbers) = make("additive"), inputs()
    shop = {**fields, "context_device": fields["context_device"] + 1.0}
    # The norm mixes fields: without it the context stands alone.
    setattr(fusion, "shopper_norm", tf.identity)  # noqa: B010
    before, after = fusion(fields, numbers).numpy(), fusion(shop, numbers).numpy()
    assert np.abs(after - before).max() > 1e-2
    np.testing.assert_allclose(
        softmax(np.moveaxis(after, 1, 2)),
        softmax(np.moveaxis(before, 1, 2)),
        rtol=1e-4,
    )
