"""The page of `tfrec compare-encoders`, and the record that it is rendered from."""

from collections.abc import Mapping
from typing import Any

from tfrec.config import ExperimentConfig, TextConfig
from tfrec.run_record import git_state, library_versions

# Figure, its header, and how it is written.
COLUMNS = (
    ("NDCG@10", "NDCG@10", "{:.4f}"),
    ("cold_Recall@10", "cold R@10", "{:.4f}"),
    ("search_NDCG@10", "search", "{:.4f}"),
    ("parameters", "weights", "{:,.0f}"),
    ("texts_per_second", "texts/s", "{:,.0f}"),
    ("ms_per_search", "ms", "{:.1f}"),
    ("ms_per_request", "ms a request", "{:.1f}"),
    ("megabytes", "MB", "{:,.1f}"),
)
_MEANING = (
    "NDCG@10: targets that were not hidden. Cold R@10: recall of the hidden ones. "
    "Search: NDCG@10 of searches, asked with the history. Weights: of the encoder. "
    "Texts/s: item titles into an empty cache, as training encodes them. Ms: to "
    "encode one search, median. Ms a request: a history and a search in, the best 10 "
    "out, in process, median. MB: weights and cached vectors. One training an "
    "encoder: what another seed would change is not told."
)


def comparison_record(
    config: ExperimentConfig,
    encoders: Mapping[str, TextConfig | None],
    rows: Mapping[str, Mapping[str, float | None]],
    *,
    hidden_share: float,
    command: str,
) -> dict[str, Any]:
    """Returns the figures with all that they hang on.

    Args:
        config: The experiment.
        encoders: Text configuration by name.
        rows: What `compare_encoders` found, by the same names.
        hidden_share: Share of the items that were hidden.
        command: As it was typed.
    """
    texts = {n: t and t.model_dump(mode="json") for n, t in encoders.items()}
    return {
        "config": config.name,
        "command": command,
        "split": config.data.split.model_dump(mode="json"),
        "targets": config.evaluation.targets,
        "exclude_seen": config.evaluation.exclude_seen,
        "seed": config.seed,
        "hidden_share": hidden_share,
        "encoders": {name: dict(row) for name, row in rows.items()},
        "text": {name: texts[name] for name in rows},
        "versions": {**library_versions(), **git_state()},
    }


def markdown(record: Mapping[str, Any]) -> str:
    """Renders the page of a `comparison_record`."""
    names = ["encoder", *(header for _, header, _ in COLUMNS)]
    lines = [names, ["---", *["---:"] * len(COLUMNS)]]
    lines += [[name, *cells(row)] for name, row in record["encoders"].items()]
    parts = [
        f"# Text encoders compared: {record['config']}",
        f"`{record['command']}`",
        f"{_describe_split(record)} {_MEANING}",
        "\n".join(f"| {' | '.join(line)} |" for line in lines),
        _describe_machine(record["versions"]),
    ]
    return "\n\n".join(parts) + "\n"


def cells(row: Mapping[str, float | None]) -> list[str]:
    """Returns the figures of an encoder as they are written, in `COLUMNS`."""
    values = ((row[name], style) for name, _, style in COLUMNS)
    return ["–" if value is None else style.format(value) for value, style in values]


def _describe_split(record: Mapping[str, Any]) -> str:
    split = record["split"]
    days = {k: v for k, v in split.items() if k != "protocol" and v is not None}
    about = "".join(f", {k} {v}" for k, v in days.items())
    by_time = split["protocol"] == "by_time"  # The days of another split say nothing.
    seen = "removed" if record["exclude_seen"] else "kept"
    return (
        "Retrieval alone, trained once an encoder on the same events, with "
        f"{record['hidden_share']:.0%} of the items hidden until the test. Split: "
        f"{split['protocol']}{about if by_time else ''}; targets {record['targets']} "
        f"of the test split, full ranking, history items {seen}, seed "
        f"{record['seed']}."
    )


def _describe_machine(versions: Mapping[str, Any]) -> str:
    commit = versions["git_commit"]
    dirty = ", with uncommitted changes" if versions["git_dirty"] else ""
    of = f" Commit {commit[:12]}{dirty}." if commit else f" tfrec {versions['tfrec']}."
    return (
        f"On {versions['num_cpus']} cores, {versions['platform']}, Python "
        f"{versions['python']}, TensorFlow {versions['tensorflow']}.{of}"
    )
