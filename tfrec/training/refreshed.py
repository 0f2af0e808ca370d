"""Trained models on a catalogue that has changed since, without training."""

import numpy as np

from tfrec.config import ExperimentConfig
from tfrec.data.refreshed import RefreshedDataset
from tfrec.data.store import TEXT_DIR
from tfrec.features.item_table import build_item_table
from tfrec.models.final_order import own_final_order
from tfrec.models.recommender import TrainedRecommender
from tfrec.models.refreshed_recommender import LaterModels, RefreshedRecommender
from tfrec.schema import NUM_SPECIAL_INDICES
from tfrec.text.cache import encode_cached
from tfrec.text.encoder import TextEncoder
from tfrec.text.reader import TextReader
from tfrec.text.shop_texts import ShopTexts, TextTable, item_texts
from tfrec.text_config import TextConfig
from tfrec.training.ranking import build_ranking_model
from tfrec.training.retrieval import build_retrieval_model


def refresh_recommender(
    trained: TrainedRecommender, dataset: RefreshedDataset, config: ExperimentConfig
) -> RefreshedRecommender:
    """Builds the models for the changed catalogue; encodes only new texts.

    Args:
        trained: The recommender as it was trained.
        dataset: With the changed catalogue.
        config: Of the run.
    """
    texts = None
    if config.text is not None and trained.text_encoder is not None:
        texts = _read_texts(config.text, dataset, trained, trained.text_encoder)
        # Whatever was trained of the encoder, it is read with as it is now.
        frozen = config.text.model_copy(update={"training": "frozen"})
        config = config.model_copy(update={"text": frozen})
    item_table = build_item_table(
        dataset,
        text=None if texts is None else texts.items,
        trained=build_item_table(dataset.trained),
    )
    retrieval = build_retrieval_model(config, dataset, item_table, texts=texts)
    ranking = None
    if config.ranking is not None:
        ranking = build_ranking_model(config, config.ranking, dataset, item_table)
    reader = None if texts is None else texts.reader
    return RefreshedRecommender(
        trained,
        LaterModels(retrieval, ranking, reader, own_final_order(config, dataset)),
        dataset.differs,
    )


def _read_texts(
    settings: TextConfig,
    dataset: RefreshedDataset,
    trained: TrainedRecommender,
    encoder: TextEncoder,
) -> ShopTexts:
    """Reads new and changed items with the trained encoder, and nothing else.

    The others keep the vectors that the models hold: a trained encoder made those
    when its weights were saved, and no cache holds them.
    """
    strings = [*[""] * NUM_SPECIAL_INDICES, *item_texts(dataset, settings.fields)]
    vectors = np.zeros((len(strings), encoder.text_dim), np.float32)
    known = np.asarray(trained.retrieval.candidate_tower.text_rows)
    vectors[: len(known)] = known
    differs = np.flatnonzero(dataset.differs) + NUM_SPECIAL_INDICES
    vectors[differs] = encode_cached(
        encoder,
        [strings[row] for row in differs],
        folder=settings.cache_dir or dataset.path / TEXT_DIR,
        batch_tokens=settings.batch_tokens,
        description="Encode new item texts",
    )
    reads_histories = trained.reads_histories
    later = TextReader(encoder, strings, reads_histories=reads_histories)
    nothing = TextTable((), np.zeros((1, encoder.text_dim), np.float32))
    histories = nothing if reads_histories else None
    return ShopTexts(later, vectors, searches=None, histories=histories)
