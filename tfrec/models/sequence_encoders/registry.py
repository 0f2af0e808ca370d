"""Which sequence encoder stands behind which name of `retrieval.encoder`."""

from collections.abc import Callable
from functools import partial

import tensorflow as tf

from tfrec.config import SequenceEncoderName
from tfrec.models.sequence_encoders.bert4rec import Bert4RecEncoder
from tfrec.models.sequence_encoders.bsarec import BsarecEncoder
from tfrec.models.sequence_encoders.gru import GruEncoder
from tfrec.models.sequence_encoders.hstu import HstuEncoder
from tfrec.models.sequence_encoders.ligr import LigrEncoder
from tfrec.models.sequence_encoders.mean import MeanEncoder
from tfrec.models.transformer import TransformerEncoder


def build_sequence_encoder(
    name: SequenceEncoderName,
    *,
    num_layers: int,
    num_heads: int,
    feedforward_dim: int,
    dropout: float,
    max_tokens: int,
    attention_dropout: float | None = None,
) -> tf.keras.layers.Layer:
    """Builds a sequence encoder by its name.

    All are called alike, `encoder(x, segment_ids, timestamps, query_timestamps)`,
    with `x` float `[num_rows, num_tokens, dim]` oldest first, `segment_ids` int32
    `[num_rows, num_tokens]` (0 is padding) and both times int64 of that shape, 0
    where unknown: when a token happened, and when its state is asked for. They give
    float `[num_rows, num_tokens, dim]`: states of unit variance, each read off the
    tokens of its own segment up to itself and nothing else. States of padding are
    finite and mean nothing. Those of `bert4rec` alone are read off the whole segment:
    its queries stand at masked tokens.

    Args:
        name: Which.
        num_layers: Blocks; 0 only normalises.
        num_heads: Attention heads, or groups of channels; must divide `dim`.
        feedforward_dim: Width inside a block; units of the GRU.
        dropout: Share of dropped units.
        attention_dropout: Share of dropped weights of attention, where it is a
            softmax; None: as `dropout`.
        max_tokens: Largest number of tokens in a segment.

    Raises:
        ValueError: If there is no encoder of that name.
    """
    blocks = (num_layers, num_heads, feedforward_dim)
    attention = {"attention_dropout": attention_dropout}
    builders: dict[str, Callable[..., tf.keras.layers.Layer]] = {
        "transformer": partial(TransformerEncoder, *blocks, **attention),
        "ligr": partial(LigrEncoder, *blocks, **attention),
        "hstu": partial(HstuEncoder, num_layers, num_heads, max_tokens),
        "gru": partial(GruEncoder, num_layers, feedforward_dim),
        "bsarec": partial(BsarecEncoder, *blocks, **attention),
        "mean": partial(MeanEncoder, *blocks),
        "bert4rec": partial(Bert4RecEncoder, *blocks, **attention),
    }
    if name not in builders:
        raise ValueError(
            f"`name` must be one of {list(builders)}. Received: name={name!r}."
        )
    return builders[name](dropout=dropout)
