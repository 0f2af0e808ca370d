"""The table of gains, on a log that the test writes."""

from pathlib import Path

from benchmarks.popularity_drift import main


def write_shop(folder: Path, *, season_days: int) -> Path:
    """A log of twenty events a day, of five items that others replace every season."""
    lines = ["user_id,item_id,event_type,timestamp"]
    for day in range(200):
        for number in range(20):
            item = 5 * (day // season_days) + number % 5
            time = 1_700_000_000 + day * 86_400 + number
            lines.append(f"u{number},i{item},view,{time}")
    (folder / "events.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = folder / "config.yaml"
    config.write_text(
        "name: drift\n"
        "data:\n"
        f"  events: {{paths: [{folder / 'events.csv'}]}}\n"
        "  event_columns: {timestamp: timestamp, event_type: event_type}\n"
        "  event_types: [view]\n"
        f"  prepared_dir: {folder / 'prepared'}\n"
        "  split: {protocol: by_time, validation_days: 10, test_days: 10}\n",
        encoding="utf-8",
    )
    return config


def test_a_shop_that_changes_gets_a_half_life(tmp_path, capsys):
    assert main(["--config", str(write_shop(tmp_path, season_days=20))]) == 0
    shown = capsys.readouterr().out
    assert "days are taken" in shown
    assert shown.count("+") == 5  # A gain for each of the half-lives.


def test_a_shop_that_stays_gets_none(tmp_path, capsys):
    assert main(["--config", str(write_shop(tmp_path, season_days=1000))]) == 0
    assert "all events count alike" in capsys.readouterr().out
