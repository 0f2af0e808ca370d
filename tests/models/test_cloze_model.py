"""The model that fills gaps: training at the last place is what serving asks."""

import numpy as np
import pytest
import tensorflow as tf

from tests.models.toys import SCHEMA, request, to_tensors, toy_model, toy_sequences
from tfrec.data.batches import BatchArrays
from tfrec.data.cloze import ClozeBatchBuilder
from tfrec.data.windows import find_targets
from tfrec.features.cloze_tokens import append_mask, without_start
from tfrec.features.request import Request, Searches
from tfrec.features.tokens import request_tokens
from tfrec.models.retrieval_model import RetrievalModel

both_batchings = pytest.mark.parametrize("batching", ["packed", "bucketed"])


def cloze_batch(
    batching: str = "bucketed", *, mask_share: float = 0.5, last_share: float = 1.0
) -> BatchArrays:
    """The three toy users in one batch; by default asked for their last event."""
    sequences = toy_sequences()
    builder = ClozeBatchBuilder(
        sequences,
        find_targets(sequences, SCHEMA),
        mask_share=mask_share,
        last_share=last_share,
        max_length=7,
        batch_tokens=1_000,
        batching="packed" if batching == "packed" else "bucketed",
        seed=0,
    )
    (batch,) = builder.epoch(0)
    return batch


def last_requests() -> list[tuple[Request, int]]:
    """Per toy user the request before the last event, and its item."""
    s = toy_sequences()
    found = []
    for start, stop in zip(s.offsets[:-1], s.offsets[1:], strict=True):
        past = slice(start, stop - 1)
        asked = request(
            [s.item_index[past].tolist()],
            timestamps=[s.timestamps[past].tolist()],
            dwell=[s.dwell_seconds[past].tolist()],
            now=[int(s.timestamps[stop - 1])],
        )
        found.append((asked, int(s.item_index[stop - 1])))
    return found


def scores_of(model: RetrievalModel, asked: Request) -> np.ndarray:
    encoded = model.encode(asked, model.item_vectors())
    return model.scores(encoded, model.candidate_embeddings()).numpy()


@both_batchings
def test_tokens_of_a_request_are_those_that_training_masked_at_the_end(batching):
    batch = cloze_batch(batching)
    width = batch.tokens.item_index.shape[1]
    by_item = dict(zip(batch.target_items, batch.target_tokens, strict=True))
    assert len(by_item) == 3
    for asked, item in last_requests():
        served = append_mask(request_tokens(asked))
        row, column = divmod(int(by_item[item]), width)
        length = served.item_index.shape[1]
        for name, values in served._asdict().items():
            trained = getattr(batch.tokens, name)[row, column + 1 - length : column + 1]
            if name == "segment_ids":
                assert len(set(trained)) == 1
                assert trained[0] > 0
                continue
            np.testing.assert_array_equal(trained, values[0], err_msg=name)


@both_batchings
@pytest.mark.parametrize("use_request_time", [True, False])
def test_loss_of_last_places_is_the_mean_over_queries_asked_one_by_one(
    batching, use_request_time
):
    model = toy_model(
        encoder="bert4rec", num_layers=2, use_request_time=use_request_time
    )
    losses = []
    for asked, item in last_requests():
        row = scores_of(model, asked)[0]
        losses.append(np.log(np.exp(row).sum()) - row[item - 2])
    found = model(to_tensors(cloze_batch(batching)))
    np.testing.assert_allclose(found, np.mean(losses), rtol=1e-4)


def test_events_behind_a_mask_change_what_it_predicts_in_training():
    model = toy_model(encoder="bert4rec", repeat=False)
    batch = cloze_batch(last_share=0.0)
    place = int(batch.target_tokens[0])
    width = batch.tokens.item_index.shape[1]
    row, column = divmod(place, width)
    later = np.flatnonzero(batch.tokens.item_index[row, column + 1 :]) + column + 1
    assert len(later), "nothing stands behind the mask"
    items = batch.tokens.item_index.copy()
    items[row, later[-1]] = 9
    other = batch._replace(tokens=batch.tokens._replace(item_index=items))
    vectors = model.item_vectors()
    one, two = (
        model.encode_batch(
            to_tensors(b), tf.gather(vectors, b.tokens.item_index), None, training=False
        ).embeddings.numpy()[0]
        for b in (batch, other)
    )
    assert np.abs(one - two).max() > 1e-4


def test_padding_on_the_right_and_other_requests_change_no_query():
    model = toy_model(encoder="bert4rec", num_layers=2)
    items = [[2, 3, 4, 5], [6, 0, 0, 0], [0, 0, 0, 0]]
    times = [[10, 20, 30, 40], [5, 0, 0, 0], [0, 0, 0, 0]]
    together = scores_of(model, request(items, timestamps=times, now=[50, 60, 70]))
    for row, length in enumerate((4, 1, 1)):
        alone = request(
            [items[row][:length]], timestamps=[times[row][:length]], now=[50 + 10 * row]
        )
        np.testing.assert_allclose(together[row], scores_of(model, alone)[0], atol=1e-5)


def test_the_newest_event_matters_and_so_does_its_place():
    model = toy_model(encoder="bert4rec", repeat=False)
    histories = [[2, 3, 4], [2, 3, 5], [3, 2, 4]]
    first, newest, order = scores_of(model, request(histories))
    assert np.abs(first - newest).max() > 1e-3
    assert np.abs(first - order).max() > 1e-3


def test_a_full_history_has_places_of_its_own_for_all_events_and_the_mask():
    model = toy_model(encoder="bert4rec")
    tokens = append_mask(request_tokens(request([[2, 3, 4, 5, 6, 7]])))
    assert tokens.positions.numpy().tolist() == [[1, 2, 3, 4, 5, 6, 7]]
    assert model.query_tower.event_encoder.max_tokens == 8


def test_a_mask_stands_behind_the_last_event_with_the_time_of_the_request():
    asked = request(
        [[7, 8, 0], [0, 0, 0]],
        timestamps=[[10, 20, 0], [0, 0, 0]],
        dwell=[[1.0, 2.0, 0.0], [0.0] * 3],
        now=[33, 44],
    )
    tokens = append_mask(request_tokens(asked))
    expected = {
        "item_index": [[7, 8, 0, 0], [0, 0, 0, 0]],
        "event_type_index": [[2, 2, 0, 0], [0, 0, 0, 0]],
        "timestamps": [[10, 20, 0, 0], [0, 0, 0, 0]],
        "dwell_seconds": [[1, 2, 0, 0], [0, 0, 0, 0]],
        "next_timestamps": [[20, 33, 33, 0], [44, 0, 0, 0]],
        "positions": [[1, 2, 3, 0], [1, 0, 0, 0]],
        "segment_ids": [[1, 1, 1, 0], [1, 0, 0, 0]],
    }
    found = {name: v.numpy().tolist() for name, v in tokens._asdict().items()}
    assert found == expected


def test_searches_move_to_where_their_events_are():
    rows = tf.constant([[0, 3, 0, 4]])  # Behind a start token.
    moved = without_start(Searches(rows, tf.zeros([5, 2])))
    assert moved is not None
    assert moved.rows.numpy().tolist() == [[3, 0, 4, 0]]
    assert without_start(None) is None
