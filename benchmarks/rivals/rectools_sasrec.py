"""Trains the SASRec of RecTools in turns; run by the Python of its environment.

    python benchmarks/rivals/rectools_sasrec.py shapes.json

Its own loader, and Lightning's own loop; a callback behind each batch counts. RecTools
learns from the last events of every history, all positions of a row at once, and
computes logits for padding too; counted are positions with a next item.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from turn_server import NoMoreTurns, TurnServer


def train(shapes: dict[str, Any]) -> None:
    """Trains as long as there are turns."""
    server = TurnServer()
    import torch  # pyright: ignore[reportMissingImports]
    from pytorch_lightning import (  # pyright: ignore[reportMissingImports]
        Callback,
        Trainer,
        seed_everything,
    )
    from rectools.models import SASRecModel  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(shapes["num_threads"])
    seed_everything(shapes["seed"])
    model = SASRecModel(**settings(shapes))

    class Turns(Callback):
        def on_train_start(self, trainer: Any, module: Any) -> None:
            sessions = trainer.train_dataloader.dataset.sessions
            server.announce(
                {
                    "epoch_targets": sum(len(session) - 1 for session in sessions),
                    "batch_rows": trainer.train_dataloader.batch_size,
                    "num_items": model.data_preparator.item_id_map.size - 1,
                    "num_weights": sum(w.numel() for w in module.parameters()),
                    "versions": {
                        name: version(name)
                        for name in ("rectools", "torch", "pytorch-lightning")
                    },
                }
            )
            server.wait()

        def on_train_batch_end(
            self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            server.step(int((batch["y"] != 0).sum()))

    model._trainer = Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Turns()],
    )
    try:
        model.fit(read_dataset(Path(shapes["events"])))
    except NoMoreTurns:
        return


def read_dataset(path: Path) -> Any:
    """Reads the file of `benchmarks.speed_data`; its times are places in a history."""
    import pandas as pd  # pyright: ignore[reportMissingImports]
    from rectools import Columns  # pyright: ignore[reportMissingImports]
    from rectools.dataset import Dataset  # pyright: ignore[reportMissingImports]

    events = pd.read_csv(path, sep="\t")
    events.columns = [Columns.User, Columns.Item, Columns.Datetime]
    events[Columns.Datetime] = pd.to_datetime(events[Columns.Datetime], unit="s")
    events[Columns.Weight] = 1.0
    return Dataset.construct(events)


def settings(shapes: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of RecTools with the shapes that all share."""
    return {
        "n_factors": shapes["embedding_dim"],
        "n_blocks": shapes["num_layers"],
        "n_heads": shapes["num_heads"],
        "session_max_len": shapes["max_history_length"],
        "dropout_rate": shapes["dropout"],
        "batch_size": shapes["batch_histories"],
        "lr": shapes["learning_rate"],
        "loss": "softmax",
    }


if __name__ == "__main__":
    train(json.loads(Path(sys.argv[1]).read_text()))
