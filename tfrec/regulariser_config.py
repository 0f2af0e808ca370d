"""Configuration of what retrieval learns beside its loss, and of gathered negatives."""

from typing import Literal

from pydantic import Field

from tfrec.data_config import FrozenConfig

RegulariserName = Literal["none", "duorec", "icsrec"]


class RegulariserConfig(FrozenConfig):
    """Contrastive regularisers of retrieval; part of `RetrievalConfig`."""

    regulariser: RegulariserName = Field(
        "none",
        description="Learned beside the loss: `duorec`: a history looks like itself "
        "under other dropout, and like another one with the same target; `icsrec`: "
        "like another one with the same target, and like the intent it belongs to.",
    )
    regulariser_weight: float = Field(
        0.1, gt=0, description="Of the regulariser, beside the loss with 1."
    )
    regulariser_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of the weight that the second term gets: `duorec`: same "
        "target, `icsrec`: intents. 0 and 1 leave one term out, and its cost.",
    )
    regulariser_temperature: float = Field(
        0.1, gt=0, description="Of the regulariser: cosines are divided by it."
    )
    regulariser_queries: int = Field(
        256,
        ge=2,
        description="Histories that a step compares at most, on each replica; one "
        "place is drawn of each.",
    )
    num_intents: int = Field(
        256, ge=2, description="`icsrec`: clusters of queries, found anew each epoch."
    )
    cross_replica_negatives: bool = Field(
        False,
        description="Under a strategy with several replicas: the targets, and the "
        "histories of the regulariser, of all of them are negatives of each.",
    )


def check_regulariser(
    settings: RegulariserConfig,
    *,
    loss: str,
    dropout: float,
    encoder: str,
    num_interests: int,
) -> None:
    """Refuses settings that would do nothing.

    Args:
        settings: What is checked.
        loss: `retrieval.loss`.
        dropout: `retrieval.dropout`.
        encoder: `retrieval.encoder`.
        num_interests: `retrieval.num_interests`.

    Raises:
        ValueError: If they do not fit together.
    """
    share = settings.regulariser_share
    if settings.regulariser != "none" and (encoder == "bert4rec" or num_interests > 1):
        raise ValueError(
            "`regulariser` compares queries of one vector, at any place of a history: "
            "not with `encoder=bert4rec`, which asks at its masks alone, nor with "
            f"several `num_interests`. Received: encoder={encoder}, "
            f"num_interests={num_interests}. Set `regulariser: none`, or the others."
        )
    if settings.regulariser == "duorec" and dropout == 0.0 and share < 1.0:
        raise ValueError(
            "`regulariser=duorec` compares two passes under dropout, so it needs "
            "`dropout` above 0, or `regulariser_share=1` for same targets alone. "
            f"Received: dropout={dropout}, regulariser_share={share}."
        )
    reads_batch = loss in ("in_batch", "sampled_softmax")
    if settings.cross_replica_negatives and not (
        reads_batch or settings.regulariser != "none"
    ):
        raise ValueError(
            "`cross_replica_negatives` needs a loss with negatives of the batch, "
            "`in_batch` or `sampled_softmax`, or a `regulariser`; leave it out for "
            f"others. Received: loss={loss}, regulariser={settings.regulariser}."
        )
