"""Every sequence encoder in a SavedModel, through the loader of the server."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import tensorflow as tf

from export.known_ops import check_known_ops
from tests.models.toys import request, toy_model
from tfrec.config import SequenceEncoderName


@pytest.mark.parametrize("encoder", get_args(SequenceEncoderName))
def test_a_stock_server_answers_as_the_trained_encoder_does(
    encoder: str, tmp_path: Path
) -> None:
    model = toy_model(encoder=encoder, num_layers=1)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.int32, "items"),
            tf.TensorSpec([None, None], tf.int64, "times"),
            tf.TensorSpec([None], tf.int64, "now"),
        ]
    )
    def embed(items: tf.Tensor, times: tf.Tensor, now: tf.Tensor) -> dict:
        asked = request([[2]])._replace(
            item_index=items,
            event_type_index=tf.where(items > 0, 2, 0),
            timestamps=times,
            dwell_seconds=tf.zeros(tf.shape(items)),
            request_timestamp=now,
        )
        return {"query": model.encode(asked, model.item_vectors()).embeddings}

    path = str(tmp_path / "1")
    # The model itself would save its training, too.
    kept = tf.train.Checkpoint(variables=model.variables)
    tf.saved_model.save(kept, path, signatures={"serving_default": embed})
    check_known_ops(Path(path))
    inputs = {
        "items": np.array([[2, 3, 4], [5, 0, 0]]),
        "times": np.array([[10, 500, 90_000], [7, 0, 0]]),
        "now": np.array([100_000, 9]),
    }
    kinds = (tf.int32, tf.int64, tf.int64)
    tensors = map(tf.constant, inputs.values(), kinds)
    expected = embed(*tensors)["query"]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], path)
        signature = loaded.signature_def["serving_default"]
        feeds = {signature.inputs[k].name: v for k, v in inputs.items()}
        found = session.run(signature.outputs["query"].name, feeds)
    np.testing.assert_allclose(found, expected, atol=1e-5)
