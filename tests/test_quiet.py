import os
import subprocess
import sys
from pathlib import Path

CODE = """
import sys, types
{before}
from tfrec.quiet import start_tensorflow_quietly
start_tensorflow_quietly()
print("after", file=sys.stderr)
"""
# Stands for TensorFlow: chatters on the error stream, then fails or not.
FAKE = """
import os
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            os.write(2, b"chatter")
            raise ImportError("no such library")
sys.meta_path.insert(0, Finder())
"""


def run(before: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, "-c", CODE.format(before=before)],
        cwd=Path(__file__).parent.parent,
        env={**clean, **environment},
        capture_output=True,
        text=True,
    )


def test_start_up_says_nothing_and_the_error_stream_works_again() -> None:
    result = run("")
    assert result.returncode == 0
    assert result.stderr == "after\n"


def test_a_failed_import_shows_what_was_printed() -> None:
    result = run(FAKE)
    assert result.returncode == 1
    assert result.stderr.startswith("chatter")
    assert "ImportError: no such library" in result.stderr


def test_a_chosen_log_level_is_left_alone() -> None:
    result = run(FAKE, TF_CPP_MIN_LOG_LEVEL="0")
    assert result.returncode == 0
    assert result.stderr == "after\n"
