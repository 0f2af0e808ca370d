"""The form in which texts reach an encoder."""

from typing import Any, NamedTuple


class TextTokens(NamedTuple):
    """Texts as token ids: tensors, or NumPy arrays outside a graph.

    Attributes:
        token_ids: int32 `[batch_size, num_tokens]`, as wide as the longest text.
        padding_mask: bool `[batch_size, num_tokens]`, True where a token is real;
            all False for a text without words.
    """

    token_ids: Any
    padding_mask: Any
