"""A batch of requests after look-up: what the models read."""

from typing import Any, NamedTuple

import tensorflow as tf

from tfrec.data.histories import RequestArrays

# A tensor in the graph, an array on its way in, a `tf.TensorSpec` in a signature.
Leaf = Any


class Searches(NamedTuple):
    """What the searches of histories searched for, encoded; each text once.

    Attributes:
        rows: int32 `[batch_size, history_length]`, row in `vectors`; 0 where the
            event is no search.
        vectors: float32 `[num_searches + 1, text_dim]`; row 0 is zeros.
    """

    rows: Leaf
    vectors: Leaf


class Request(NamedTuple):
    """Histories and request data as indices, the same in training and serving.

    Padding is on the right: event j of row b is real where `item_index[b, j]`
    is not 0. An unknown item is a real event with the index 1, and so is a search,
    which has no item.

    Attributes:
        item_index: int32 `[batch_size, history_length]`, oldest first.
        event_type_index: int32 `[batch_size, history_length]`.
        timestamps: int64 `[batch_size, history_length]`, unix seconds; 0 unknown.
        dwell_seconds: float32 `[batch_size, history_length]`; 0 unknown.
        request_timestamp: int64 `[batch_size]`, unix seconds; 0 unknown.
        context: Per context attribute int32 index or float32 `[batch_size]`.
        query_text: float32 `[batch_size, text_dim]`, what the text encoder made of
            the search; zeros where nothing is searched for. `()` where nobody
            searches at all.
        history_text: float32 `[batch_size, text_dim]`, what the encoder made of the
            newest texts of the history, joined. `()` where that is not read, or
            still to be done.
        search_text: string `[batch_size, history_length]`, what the events that are
            searches searched for; "" elsewhere. `()` where histories have none, or
            where all is in `searches` and `history_text` already.
        searches: `Searches`, `search_text` encoded. `()` where histories have none, or
            where that is still to be done.
    """

    item_index: Leaf
    event_type_index: Leaf
    timestamps: Leaf
    dwell_seconds: Leaf
    request_timestamp: Leaf
    context: dict[str, Leaf]
    query_text: Leaf = ()
    history_text: Leaf = ()
    search_text: Leaf = ()
    searches: Leaf = ()

    @property
    def history_mask(self) -> tf.Tensor:
        """Returns bool `[batch_size, history_length]`, True for real events."""
        return tf.not_equal(self.item_index, 0)


def request_of(arrays: RequestArrays) -> Request:
    """Returns the request of gathered histories, field by field.

    The arrays stay arrays: TensorFlow converts them where they enter a graph, on
    the device where that graph runs.
    """
    return Request(**arrays._asdict())
