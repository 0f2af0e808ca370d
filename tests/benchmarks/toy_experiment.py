"""A log and a configuration that benchmarks of training can be run on."""

from pathlib import Path

from tfrec.data.store import EventSequences


def write_experiment(path: Path, sequences: EventSequences) -> Path:
    """Log and configuration of a few users, as a shop would hand them over."""
    rows = ["user_id,item_id,timestamp"]
    for user, (start, stop) in enumerate(
        zip(sequences.offsets, sequences.offsets[1:], strict=False)
    ):
        rows += [
            f"{user},{sequences.item_index[i]},{sequences.timestamps[i]}"
            for i in range(start, stop)
        ]
    (path / "events.csv").write_text("\n".join(rows) + "\n")
    config = path / "toy.yaml"
    config.write_text(
        f"""
name: toy
data:
  events: {{paths: ["{path / "events.csv"}"]}}
  event_columns: {{timestamp: timestamp}}
  event_types: [event]
  split: {{protocol: leave_one_out}}
retrieval: {{embedding_dim: 4, num_layers: 0, max_history_length: 6}}
training: {{retrieval: {{min_steps_per_epoch: 5}}}}
"""
    )
    return config
