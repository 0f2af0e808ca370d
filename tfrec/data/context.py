"""Context of requests, such as a device, as the models read it."""

from typing import Any

import pyarrow as pa
from ibis.backends.duckdb import Backend

from tfrec.data.engine import Table, store_table
from tfrec.data.store import CONTEXT_COLUMN_PREFIX
from tfrec.data.vocabulary import Vocabulary
from tfrec.schema import PADDING_INDEX, AttributeKind, AttributeSpec


def context_columns(context: tuple[AttributeSpec, ...]) -> dict[str, pa.DataType]:
    """Returns the columns of prepared context, by name."""
    return {
        CONTEXT_COLUMN_PREFIX + attribute.name: pa.float32()
        if attribute.kind == AttributeKind.NUMERIC
        else pa.int32()
        for attribute in context
    }


def encode_context(
    engine: Backend,
    events: Table,
    context: tuple[AttributeSpec, ...],
    vocabularies: dict[str, Vocabulary],
    *,
    what: str,
) -> Table:
    """Puts what the models read in the place of context values.

    That is an index of the vocabulary, 0 where there is no value, or a number, NaN
    where there is none.

    Args:
        engine: Holds the tables.
        events: Rows with a column per context attribute.
        context: The attributes.
        vocabularies: By attribute name.
        what: The rows are, for the names of tables.
    """
    for attribute in context:
        column = CONTEXT_COLUMN_PREFIX + attribute.name
        if attribute.kind == AttributeKind.NUMERIC:
            number = events[column].cast("float32").fill_null(float("nan"))
            events = events.mutate(**{column: number})
            continue
        distinct = events.select(value=events[column]).distinct()
        values = engine.to_pyarrow(distinct.filter(distinct["value"].notnull()))
        texts = values["value"].to_pylist()
        # A path is known by its deepest level, as far as levels are read.
        deepest = [(attribute.tokens(text) or [""])[-1] for text in texts]
        indices = vocabularies[attribute.name].lookup(deepest)
        name = f"{what}_{column}_indices"
        # The type is said: of no value at all there would be none to compare with.
        table = {column: pa.array(texts, pa.string()), name: indices}
        mapping = store_table(engine, name, pa.table(table))
        joined = events.left_join(mapping, [column])
        index: Any = joined[name].fill_null(PADDING_INDEX).cast("int32")
        kept = [joined[c] for c in events.columns if c != column]
        events = joined.select(*kept, index.name(column))
    return events
