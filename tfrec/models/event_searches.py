"""Events that are searches: what was searched for, in the place of an item."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tfrec.features.request import Request, Searches


class ProjectedSearches(NamedTuple):
    """The searches among the tokens, in the space of items.

    Attributes:
        rows: int32 `[num_rows, num_tokens]`, row in `vectors`; 0 where the token is
            no search.
        is_search: bool `[num_rows, num_tokens]`, True where the token is a search.
        vectors: float `[num_searches + 1, embedding_dim]`.
    """

    rows: tf.Tensor
    is_search: tf.Tensor
    vectors: tf.Tensor

    def in_place_of(self, items: tf.Tensor) -> tf.Tensor:
        """Returns the vectors of events: `items`, but for searches.

        Args:
            items: float `[num_rows, num_tokens, embedding_dim]`, also of the result.
        """
        found = tf.cast(tf.gather(self.vectors, self.rows), items.dtype)
        return tf.where(tf.expand_dims(self.is_search, -1), found, items)


def project_searches(
    searches: Searches, project: Callable[[tf.Tensor], tf.Tensor]
) -> ProjectedSearches:
    """Projects the distinct searches among the tokens.

        item(e) = p(text of e)      where the event e is a search

    p is the projection that takes the texts of items into the space of items
    (`TextProjection`): what was searched for stands where an item of that title would.

    Args:
        searches: Of tokens, rows `[num_rows, num_tokens]`; 0 where there is none.
        project: float `[num_texts, text_dim]` to `[num_texts, embedding_dim]`.
    """
    is_search = searches.rows > 0
    return ProjectedSearches(searches.rows, is_search, project(searches.vectors))


def searches_of_batch(rows: tf.Tensor, table: tf.Tensor) -> Searches:
    """Returns the searches of a batch of training, each once.

    The table holds all searches of the log: what a batch does not hold need not be
    projected.

    Args:
        rows: int32 `[num_rows, num_tokens]`, row in `table`; 0 is no search.
        table: float32 `[num_searches + 1, text_dim]`.
    """
    flat = tf.concat([[0], tf.reshape(rows, [-1])], axis=0)  # Row 0 stays row 0.
    distinct, place = tf.unique(flat)
    return Searches(tf.reshape(place[1:], tf.shape(rows)), tf.gather(table, distinct))


def request_searches(request: Request) -> Searches | None:
    """Returns the searches of a request's tokens; None where histories have none."""
    searches = request.searches
    if not searches:  # `()`; `Searches` is a tuple, too.
        return None
    # The start token comes first.
    return Searches(tf.pad(searches.rows, [[0, 0], [1, 0]]), searches.vectors)
