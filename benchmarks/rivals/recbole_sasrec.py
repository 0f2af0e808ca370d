"""Trains the SASRec of RecBole in turns; run by the Python of its environment.

    python benchmarks/rivals/recbole_sasrec.py shapes.json

Its own loader, loop and optimiser: only the batches pass through our hands, to be
counted. Of every history RecBole makes a row for each event but the first, holding
what came before it, and learns the one target of that row.
"""

import json
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from turn_server import NoMoreTurns, TurnServer

_EVENTS = "events"  # Name of data set and file, see `benchmarks.speed_data`.


def train(shapes: dict[str, Any]) -> None:
    """Trains as long as there are turns."""
    server = TurnServer()
    import torch  # pyright: ignore[reportMissingImports]
    from recbole.config import Config  # pyright: ignore[reportMissingImports]
    from recbole.data import create_dataset  # pyright: ignore[reportMissingImports]
    from recbole.data.utils import (  # pyright: ignore[reportMissingImports]
        get_dataloader,
    )
    from recbole.utils import (  # pyright: ignore[reportMissingImports]
        get_model,
        get_trainer,
        init_seed,
    )

    torch.set_num_threads(shapes["num_threads"])
    config = Config(model="SASRec", dataset=_EVENTS, config_dict=settings(shapes))
    init_seed(config["seed"], config["reproducibility"])
    # All events are for training; the two other parts are empty.
    dataset = create_dataset(config).build()[0]
    loader = get_dataloader(config, "train")(config, dataset, None, shuffle=True)
    model = get_model(config["model"])(config, dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    server.announce(
        {
            "epoch_targets": len(dataset),
            "batch_rows": loader.step,
            "num_items": dataset.item_num - 1,  # Without padding.
            "num_weights": sum(weight.numel() for weight in model.parameters()),
            "versions": {name: version(name) for name in ("recbole", "torch")},
        }
    )

    def batches() -> Iterator[Any]:
        server.wait()
        while True:
            for batch in loader:
                yield batch
                # The next is asked for when this one has been learned.
                server.step(len(batch))

    try:
        trainer._train_epoch(batches(), 0)
    except NoMoreTurns:
        return


def settings(shapes: dict[str, Any]) -> dict[str, Any]:
    """Returns the configuration of RecBole with the shapes that all share."""
    return {
        "data_path": shapes["folder"],
        "checkpoint_dir": str(Path(shapes["folder"]) / "recbole_saved"),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "eval_args": {
            "split": {"RS": [1, 0, 0]},
            "group_by": "user",
            "order": "TO",
            "mode": "full",
        },
        "MAX_ITEM_LIST_LENGTH": shapes["max_history_length"],
        "hidden_size": shapes["embedding_dim"],
        "inner_size": shapes["feedforward_dim"],
        "n_layers": shapes["num_layers"],
        "n_heads": shapes["num_heads"],
        "hidden_dropout_prob": shapes["dropout"],
        "attn_dropout_prob": shapes["dropout"],
        "loss_type": "CE",
        "train_neg_sample_args": None,
        "train_batch_size": shapes["batch_prefixes"],
        "learning_rate": shapes["learning_rate"],
        "seed": shapes["seed"],
        "use_gpu": False,
        "show_progress": False,
        "state": "WARNING",
    }


if __name__ == "__main__":
    given = json.loads(Path(sys.argv.pop()).read_text())  # RecBole reads the rest.
    train(given)
