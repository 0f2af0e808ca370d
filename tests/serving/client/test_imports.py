import subprocess
import sys
from pathlib import Path

CLIENT_FOLDER = Path(__file__).parents[3] / "serving" / "client"
PROGRAM = """
import sys
import tfrec_client
import tfrec_client.__main__

assert tfrec_client.__all__ == sorted(tfrec_client.__all__), tfrec_client.__all__
assert all(hasattr(tfrec_client, name) for name in tfrec_client.__all__)
roots = {name.partition(".")[0] for name in sys.modules}
print(sorted(roots & {"tensorflow", "tensorflow_serving", "tfrec", "serving", "keras"}))
"""


def test_the_client_imports_no_tensorflow_and_nothing_of_the_project() -> None:
    # `-P` and the folder: only what is installed beside the client can be found.
    run = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM],
        cwd=CLIENT_FOLDER,
        env={"PYTHONPATH": str(CLIENT_FOLDER)},
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stdout) == (0, "[]\n"), run.stderr


def test_the_client_declares_three_dependencies_only() -> None:
    text = (CLIENT_FOLDER / "pyproject.toml").read_text()
    (block,) = [b for b in text.split("dependencies = [")[1:]]
    names = [
        line.strip().strip('",').split(">")[0]
        for line in block.split("]")[0].split("\n")
    ]
    assert sorted(filter(None, names)) == ["grpcio", "numpy", "protobuf"]
