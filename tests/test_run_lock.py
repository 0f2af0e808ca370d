import json
import subprocess
import sys

import pytest

from tfrec.run_lock import run_lock

HOLD = """
import sys, time
from pathlib import Path
from tfrec.run_lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_second_process_is_told_and_a_kill_gives_the_run_back(tmp_path):
    folder = tmp_path / "runs" / "shop"
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        message = r"shop.*another process.*run_dir"
        with pytest.raises(ValueError, match=message), run_lock(folder):
            pass
        holder.kill()
    with run_lock(folder):
        pass


def test_workers_of_a_cluster_share_a_run(tmp_path, monkeypatch):
    with run_lock(tmp_path):
        task = {"task": {"type": "worker", "index": 1}}
        monkeypatch.setenv("TF_CONFIG", json.dumps(task))
        with run_lock(tmp_path):
            pass
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {}}))
        with pytest.raises(ValueError, match="another process"), run_lock(tmp_path):
            pass
