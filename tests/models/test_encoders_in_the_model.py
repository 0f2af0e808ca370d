"""The retrieval model with every sequence encoder: training sees what serving does."""

from typing import get_args

import numpy as np
import pytest
import tensorflow as tf

from tests.models.toys import one_batch, request, toy_model, toy_sequences
from tfrec.config import SequenceEncoderName
from tfrec.models.retrieval_model import RetrievalModel

ENCODERS = get_args(SequenceEncoderName)
all_encoders = pytest.mark.parametrize("encoder", ENCODERS)
# Queries of `bert4rec` stand at masks: tests/models/test_cloze_model.py.
causal_encoders = pytest.mark.parametrize(
    "encoder", [name for name in ENCODERS if name != "bert4rec"]
)


def scores_of(model: RetrievalModel, **inputs) -> np.ndarray:
    encoded = model.encode(request(**inputs), model.item_vectors())
    return model.scores(encoded, model.candidate_embeddings()).numpy()


@causal_encoders
def test_loss_of_packed_rows_is_the_mean_over_queries_asked_one_by_one(encoder):
    model = toy_model(encoder=encoder, num_layers=2)
    sequences = toy_sequences()
    losses = []
    for user in range(sequences.num_users):
        start, stop = sequences.offsets[user : user + 2]
        for event in range(start, stop):
            past = slice(start, event)
            row = scores_of(
                model,
                items=[sequences.item_index[past].tolist() or [0]],
                timestamps=[sequences.timestamps[past].tolist() or [0]],
                dwell=[sequences.dwell_seconds[past].tolist() or [0.0]],
                now=[int(sequences.timestamps[event])],
            )[0]
            positive = row[sequences.item_index[event] - 2]
            losses.append(np.log(np.exp(row).sum()) - positive)
    for batching in ("bucketed", "packed"):
        batch = one_batch(sequences, max_length=6, batching=batching)
        np.testing.assert_allclose(model(batch), np.mean(losses), rtol=1e-4)


def reaction_to_time(model: RetrievalModel) -> float:
    """How far scores move when the first of three events is a month older."""
    inputs = {"items": [[2, 3, 4]], "now": [10_000_000]}
    near = scores_of(model, **inputs, timestamps=[[9_000_000, 9_100_000, 9_200_000]])
    far = scores_of(model, **inputs, timestamps=[[6_400_000, 9_100_000, 9_200_000]])
    return float(np.abs(far - near).max())


def silenced(encoder: str, *, use_request_time: bool = True) -> RetrievalModel:
    """A model whose events say nothing of time themselves."""
    model = toy_model(encoder=encoder, repeat=False, use_request_time=use_request_time)
    gaps = model.query_tower.event_encoder.gap_table
    gaps.set_weights([np.zeros_like(w) for w in gaps.get_weights()])
    return model


def test_only_hstu_sees_how_long_ago_each_event_was():
    assert reaction_to_time(silenced("hstu")) > 1e-3
    assert reaction_to_time(silenced("transformer")) == 0.0


def test_hstu_sees_the_time_of_the_request_where_it_may():
    for use_request_time in (True, False):
        model = silenced("hstu", use_request_time=use_request_time)
        inputs = {"items": [[2, 3]], "timestamps": [[10, 20]]}
        early, late = (scores_of(model, **inputs, now=[t]) for t in (30, 900_000))
        assert (np.abs(early - late).max() > 1e-3) == use_request_time


def test_the_name_of_the_encoder_survives_in_the_configuration_of_the_tower():
    tower = toy_model(encoder="gru").query_tower
    restored = type(tower).from_config(tower.get_config())
    assert type(restored.encoder) is type(tower.encoder)


@all_encoders
def test_no_request_gives_no_query(encoder):
    model = toy_model(encoder=encoder)
    none = tf.nest.map_structure(lambda value: value[:0], request([[2, 3]]))
    assert model.encode(none, model.item_vectors()).embeddings.shape == (0, 8)
