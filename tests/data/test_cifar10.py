"""CIFAR-10: read, checked and downloaded, from made-up files of the same form."""

import functools
import hashlib
import http.server
import io
import pickle
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR10

from src.data import cifar10, shapes_ahead
from src.data.dataset import check
from src.errors import InputError
from src.shapes import Shapes

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 3072), dtype=np.uint8)
LABELS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]


def files() -> dict[str, bytes]:
    """Six batches of two pictures, and the names of the classes."""
    batches = {
        name: pickle.dumps({"data": PIXELS[2 * number :][:2], "labels": LABELS[2 * number :][:2]})
        for number, name in enumerate(cifar10.FILES[:-1])
    }
    return batches | {"batches.meta": pickle.dumps({"label_names": list("abcdefghij")})}


FILES = files()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The made-up files stand in for the real ones."""
    sums = {name: hashlib.md5(content).hexdigest() for name, content in FILES.items()}
    listed = [[name, sums[name]] for name in cifar10.FILES]
    monkeypatch.setattr(CIFAR10, "train_list", listed[:5])
    monkeypatch.setattr(CIFAR10, "test_list", listed[5:6])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": sums["batches.meta"]})


@pytest.fixture
def served(tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The archive, on a web server of this machine."""
    folder = tmp_path / "served"
    folder.mkdir()
    archive = folder / CIFAR10.filename
    with tarfile.open(archive, "w:gz") as packed:
        for name, content in FILES.items():
            member = tarfile.TarInfo(f"{cifar10.FOLDER}/{name}")
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{server.server_port}/{CIFAR10.filename}")
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    yield archive
    server.shutdown()
    server.server_close()


def write(root: Path) -> Path:
    folder = root / cifar10.FOLDER
    folder.mkdir(parents=True)
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    return folder


def test_reads_what_is_there(tmp_path: Path, small: None) -> None:
    write(tmp_path)
    data = cifar10.load(str(tmp_path), mean=0.5, std=0.25)
    check(data)
    assert data.shapes == Shapes((3, 32, 32), classes=10)
    assert [*data.train.targets.tolist(), *data.test.targets.tolist()] == LABELS
    # Red, green and blue, each row by row from the top.
    expected = (PIXELS.reshape(12, 3, 32, 32) / 255 - 0.5) / 0.25
    assert np.allclose(data.train.inputs, expected[:10], atol=1e-6)
    assert np.allclose(data.test.inputs, expected[10:], atol=1e-6)
    assert cifar10.ahead(str(tmp_path)) is None


@pytest.mark.parametrize("name", cifar10.FILES)
def test_every_file_is_checked(tmp_path: Path, small: None, name: str) -> None:
    file = write(tmp_path) / name
    file.write_bytes(FILES[name] + b" ")
    with pytest.raises(InputError, match=f"{name}: altered: its MD5 is"):
        cifar10.load(str(tmp_path))


def test_what_is_missing_is_downloaded(tmp_path: Path, served: Path) -> None:
    root = tmp_path / "new"
    source = {"_target_": "src.data.cifar10.load", "root": str(root), "mean": 0.0, "std": 1.0}
    assert shapes_ahead(source) == Shapes((3, 32, 32), classes=10)
    data = cifar10.load(str(root))
    assert data.train.targets.tolist() == LABELS[:10]
    assert [path.name for path in root.iterdir()] == [cifar10.FOLDER]
    served.unlink()
    assert cifar10.load(str(root)).sha256 == data.sha256


def test_an_altered_archive_leaves_nothing(tmp_path: Path, served: Path) -> None:
    served.write_bytes(served.read_bytes()[:-3])
    root = tmp_path / "new"
    with pytest.raises(InputError, match="could not be downloaded") as error:
        cifar10.load(str(root))
    assert str(root / cifar10.FOLDER) in str(error.value) and not root.exists()


def test_a_root_is_needed() -> None:
    with pytest.raises(InputError, match=r"data\.root=null"):
        cifar10.load(None)
