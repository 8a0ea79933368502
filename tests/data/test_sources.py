"""Data on disk: verified, and downloaded from a real server on this machine when missing."""

import gzip
import hashlib
import http.server
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import sklearn.datasets
import torch
import torchvision

from src.config import PROJECT
from src.data import Dataset, bundled, digits, downloads, idx, mnist, shapes_ahead
from src.errors import InputError
from src.shapes import Shapes
from src.targets import build
from tests.helpers import Answer, finish

# Like MNIST's, with 6 and 2 images.
FILES = {
    "train-images-idx3-ubyte": struct.pack(">4I", 0x803, 6, 28, 28) + bytes(range(256)) * 18
    + bytes(96),
    "train-labels-idx1-ubyte": struct.pack(">2I", 0x801, 6) + bytes([0, 1, 2, 3, 4, 9]),
    "t10k-images-idx3-ubyte": struct.pack(">4I", 0x803, 2, 28, 28) + bytes([255]) * 1568,
    "t10k-labels-idx1-ubyte": struct.pack(">2I", 0x801, 2) + bytes([5, 6]),
}  # fmt: skip

HANG = """
import sys, torchvision
torchvision.datasets.MNIST.mirrors = [f"http://127.0.0.1:{sys.argv.pop(1)}/"] * 3
from src.train import main
main()
"""


@pytest.fixture(scope="module", autouse=True)
def hanging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, subprocess.Popen]]:  # type: ignore[type-arg]
    """A run whose mirrors accept and never answer; it waits while the other tests go on."""
    root = tmp_path_factory.mktemp("hang")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                HANG,
                str(silent.getsockname()[1]),
                "data=mnist",
                f"data.root={root / 'data'}",
                f"hydra.run.dir={root / 'run'}",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=PROJECT,
        )
        yield root, process
        process.kill()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The made-up files stand in for the real ones."""
    monkeypatch.setattr(idx, "SIZES", {name: len(text) for name, text in FILES.items()})
    monkeypatch.setattr(idx, "DIGESTS", {
        "MNIST": {name: hashlib.sha256(text).hexdigest() for name, text in FILES.items()},
        "FashionMNIST": {name: hashlib.sha256(text).hexdigest() for name, text in FILES.items()},
        "KMNIST": {name: hashlib.md5(text).hexdigest() for name, text in FILES.items()},
    })  # fmt: skip


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: None) -> Iterator[Path]:
    """The folder of a web server that all three data sets take for their first mirror."""
    folder, resources = tmp_path / "served", []
    folder.mkdir()
    for name, text in FILES.items():
        packed = gzip.compress(text)
        (folder / f"{name}.gz").write_bytes(packed)
        resources.append((f"{name}.gz", hashlib.md5(packed).hexdigest()))

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None:
            pass

    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    for name in ("MNIST", "FashionMNIST", "KMNIST"):
        dataset = getattr(torchvision.datasets, name)
        monkeypatch.setattr(dataset, "mirrors", [f"http://127.0.0.1:{served.server_port}/"])
        monkeypatch.setattr(dataset, "resources", resources)
    yield folder
    served.shutdown()
    served.server_close()


def read(name: str, root: str) -> Dataset:
    return build("data", {"_target_": f"src.data.{name}.load", "root": root}, Dataset)


def write(root: Path, class_name: str = "MNIST") -> Path:
    raw = root / class_name / "raw"
    raw.mkdir(parents=True)
    for name, text in FILES.items():
        (raw / name).write_bytes(text)
    return raw


def test_reads_what_is_there(tmp_path: Path, small: None) -> None:
    write(tmp_path)
    raw = mnist.load(str(tmp_path))
    assert raw.train.targets.tolist() == [0, 1, 2, 3, 4, 9]
    assert raw.test.targets.tolist() == [5, 6]
    assert raw.train.inputs.shape == (6, 1, 28, 28)
    assert raw.train.inputs[0].flatten()[:3].tolist() == pytest.approx([0, 1 / 255, 2 / 255])
    assert (raw.test.inputs.shape, raw.test.inputs.max()) == ((2, 1, 28, 28), 1)


def test_the_digits_are_those_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which reads them in its own way; the digest is of its arrays."""
    bunch, raw = sklearn.datasets.load_digits(), digits.load()
    content = bunch.images.tobytes() + bunch.target.tobytes()
    assert raw.sha256 == hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(bundled, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="scikit-learn has no digits"):
        digits.load()


def test_the_digits_lie_in_any_folder_of_scikit_learn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package may lie in several; the first that has the file counts."""
    folders = [tmp_path / name for name in "abc"]
    for folder in folders[1:]:
        (folder / "datasets" / "data").mkdir(parents=True)
        (folder / "datasets" / "data" / "digits.csv.gz").touch()
    found = SimpleNamespace(submodule_search_locations=[*map(str, folders)])
    monkeypatch.setattr(bundled, "find_spec", lambda name: found)
    assert bundled.of_sklearn("digits.csv.gz") == folders[1] / "datasets/data/digits.csv.gz"


def test_the_digest_is_of_pictures_and_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the digits, one pixel and one label at a time; it is the same where they are."""
    lines = gzip.decompress(bundled.of_sklearn("digits.csv.gz").read_bytes()).splitlines()
    monkeypatch.setattr(digits, "of_sklearn", lambda name: tmp_path / name)

    def digest(row: int = 0, column: int | None = None) -> str:
        changed = [line.split(b",") for line in lines]
        if column is not None:
            changed[row][column] = b"%d" % (float(changed[row][column]) + 1)
        text = b"\n".join(map(b",".join, changed))
        (tmp_path / "digits.csv.gz").write_bytes(gzip.compress(text))
        return digits.load().sha256

    assert digest() == digest()
    found = {digest(), digest(0, 0), digest(1796, 63)}
    assert len({*found, digest(0, 64), digest(1796, 64)}) == 5


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_the_digest_is_of_all_four_files(tmp_path: Path, algorithm: str) -> None:
    found = []
    for name in ["", *FILES, "again"]:
        raw = write(tmp_path / name)
        if name in FILES:
            (raw / name).write_bytes(FILES[name][:-1] + b"\x07")
        now = {
            each: hashlib.new(algorithm, (raw / each).read_bytes()).hexdigest() for each in FILES
        }
        found.append(downloads.verify(raw, now))
    assert len({*found}) == 5 and found[0] == found[-1]


@pytest.mark.parametrize("class_name", ["MNIST", "FashionMNIST", "KMNIST"])
def test_the_digests_that_are_known(class_name: str) -> None:
    """The four files of each set, none twice."""
    assert idx.DIGESTS[class_name].keys() == FILES.keys()
    every = [each for digests in idx.DIGESTS.values() for each in digests.values()]
    assert len({*every}) == 12 and {len(each) for each in every} == {32, 64}


@pytest.mark.parametrize("class_name", ["FashionMNIST", "KMNIST"])
@pytest.mark.parametrize("name", FILES)
def test_a_file_put_there_by_hand_is_checked(
    tmp_path: Path, small: None, class_name: str, name: str
) -> None:
    source = {"FashionMNIST": "fashion_mnist", "KMNIST": "kmnist"}[class_name]
    file = write(tmp_path, class_name) / name
    assert read(source, str(tmp_path)).train.targets.tolist() == [0, 1, 2, 3, 4, 9]
    file.write_bytes(FILES[name][:-1] + b"\x07")
    algorithm = {"FashionMNIST": "SHA-256", "KMNIST": "MD5"}[class_name]
    with pytest.raises(InputError, match=f"{name}: altered: its {algorithm} is [0-9a-f]+, exp"):
        read(source, str(tmp_path))


def test_the_sizes_of_files_and_pictures() -> None:
    """60,000 and 10,000 pictures of 28 x 28 bytes after a head of 16; labels after one of 8."""
    heads = {"images-idx3": 16, "labels-idx1": 8}
    for part, count in (("train", 60_000), ("t10k", 10_000)):
        for kind, head in heads.items():
            size = count * (28 * 28 if head == 16 else 1)
            assert idx.SIZES[f"{part}-{kind}-ubyte"] == head + size
    assert idx.SIZES.keys() == FILES.keys()


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist"])
def test_shapes_are_known_before_a_download(tmp_path: Path, name: str) -> None:
    source = {"_target_": f"src.data.{name}.load", "root": str(tmp_path), "mean": 0.0, "std": 1.0}
    assert shapes_ahead(source) == Shapes((1, 28, 28), classes=10)
    assert shapes_ahead({"_target_": "src.data.digits.load"}) is None


def test_shapes_of_what_is_here_are_read(tmp_path: Path, small: None) -> None:
    write(tmp_path)
    assert shapes_ahead({"_target_": "src.data.mnist.load", "root": str(tmp_path)}) is None


@pytest.mark.parametrize("missing", FILES)
def test_one_missing_file_is_downloaded_with_the_others(
    tmp_path: Path, server: Path, missing: str
) -> None:
    raw = write(tmp_path)
    (raw / missing).unlink()
    read = mnist.load(str(tmp_path))
    assert read.train.targets.tolist() == [0, 1, 2, 3, 4, 9]
    assert (raw / missing).read_bytes() == FILES[missing]
    assert [path.name for path in tmp_path.iterdir() if path.name != "served"] == ["MNIST"]


@pytest.mark.parametrize("name", FILES)
def test_truncated(tmp_path: Path, small: None, name: str) -> None:
    file = write(tmp_path) / name
    file.write_bytes(FILES[name][:-1])
    with pytest.raises(InputError, match="truncated or altered") as error:
        mnist.load(str(tmp_path))
    assert str(file) in str(error.value)


@pytest.mark.parametrize("name", FILES)
def test_altered(tmp_path: Path, small: None, name: str) -> None:
    file = write(tmp_path) / name
    file.write_bytes(FILES[name][:-1] + b"\x07")
    with pytest.raises(InputError, match="altered: its SHA-256 is") as error:
        mnist.load(str(tmp_path))
    assert str(file) in str(error.value)


@pytest.mark.parametrize(
    ("name", "class_name"),
    [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST"), ("kmnist", "KMNIST")],
)
def test_download(tmp_path: Path, server: Path, name: str, class_name: str) -> None:
    root = tmp_path / "new" / "data"
    raw = read(name, str(root))
    assert raw.train.targets.tolist() == [0, 1, 2, 3, 4, 9]
    assert [path.name for path in root.iterdir()] == [class_name]
    for file in server.iterdir():
        file.unlink()
    again = read(name, str(root))  # without the server's files
    assert again.sha256 == raw.sha256
    labels = root / class_name / "raw" / "train-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1] + b"\x00")
    with pytest.raises(InputError, match="altered"):
        read(name, str(root))


@pytest.mark.parametrize("broken", ["missing", "altered", "truncated"])
def test_a_failed_download_leaves_nothing(tmp_path: Path, server: Path, broken: str) -> None:
    file = server / "t10k-labels-idx1-ubyte.gz"
    if broken == "missing":
        file.unlink()
    elif broken == "altered":
        file.write_bytes(gzip.compress(FILES["t10k-images-idx3-ubyte"]))
    else:
        file.write_bytes(file.read_bytes()[:-3])
    root = tmp_path / "new" / "data"
    with pytest.raises(InputError, match="could not be downloaded") as error:
        mnist.load(str(root))
    assert str(root / "MNIST") in str(error.value)
    assert not (tmp_path / "new").exists()


def test_a_server_that_speaks_no_http(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(1000)
                peer.sendall(b"220 no web here\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        mirror = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [mirror])
        with pytest.raises(InputError, match="220 no web here"):
            mnist.load(str(tmp_path / "data"))


def test_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        mirror = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [mirror])
    with pytest.raises(InputError) as error:
        mnist.load(str(tmp_path / "data"))
    for part in (str(tmp_path / "data" / "MNIST"), mirror, "refused", "data=digits"):
        assert part in str(error.value)
    assert not (tmp_path / "data").exists()


def test_all_mirrors_share_one_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each hangs as a look-up of a name does, which no socket's limit ends."""

    def hang(*_: object, **__: object) -> None:
        assert threading.current_thread().daemon  # or the program couldn't end
        threading.Event().wait(60)
        raise TimeoutError

    monkeypatch.setattr(downloads, "ANSWER_SECONDS", 1.0)
    monkeypatch.setattr("urllib.request.urlopen", hang)
    urls = [f"http://{number}.invalid/" for number in range(60)]
    reasons: list[str | None] = []
    asking = threading.Thread(target=lambda: reasons.append(downloads.unreachable(urls)))
    asking.start()
    asking.join(15)
    assert reasons == ["http://0.invalid/: no answer in 1 s"]


def test_mirrors_that_never_answer(hanging: tuple[Path, subprocess.Popen[str]]) -> None:
    """15 s are allowed; imports take a few of them, many on a busy machine."""
    assert downloads.ANSWER_SECONDS <= 10
    root, process = hanging
    answer: Answer = finish(process)
    assert (answer.status, answer.out) == (1, "")
    (line,) = answer.err.splitlines()
    for part in (str(root / "data" / "MNIST"), "http://127.0.0.1:", "no answer", "data=digits"):
        assert part in line
    assert list(root.iterdir()) == []


def test_the_real_files_are_checked(tmp_path: Path, mnist_root: str) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in FILES:
        (raw / name).symlink_to(Path(mnist_root) / "MNIST" / "raw" / name)
    labels = raw / "t10k-labels-idx1-ubyte"
    text = bytearray(labels.read_bytes())
    text[-1] ^= 1
    labels.unlink()
    labels.write_bytes(text)
    with pytest.raises(InputError, match="t10k-labels-idx1-ubyte: altered"):
        mnist.load(str(tmp_path))


TESTED = [6, 5, 5, 7, 9, 9, 8, 4, 6, 8, 6, 0]  # the first labels of the test set
TRAIN_DIGEST = "3897ea07e6dfc030df7fa1d44911aedaad133acb22686cc9048d2788a925ceeb"
TEST_DIGEST = "3c45fcfce83afb29b0ba22cd03f587a252c44e29bb86559455e065cef2965de1"


def test_the_digits_are_split_once_and_for_all() -> None:
    """The same fifth is the test set in every version, or no two results could be compared."""
    raw = digits.load()
    assert raw.train.inputs.shape == (1438, 1, 8, 8) and raw.test.inputs.shape == (359, 1, 8, 8)
    assert raw.test.targets[:12].tolist() == TESTED
    for targets, digest in ((raw.train.targets, TRAIN_DIGEST), (raw.test.targets, TEST_DIGEST)):
        assert hashlib.sha256(targets.numpy().tobytes()).hexdigest() == digest


def test_files_that_are_there_are_read_as_torchvision_reads_them(
    tmp_path: Path, small: None
) -> None:
    write(tmp_path)
    ours = mnist.load(str(tmp_path))
    for split, train in ((ours.train, True), (ours.test, False)):
        theirs = torchvision.datasets.MNIST(tmp_path, train=train)
        assert torch.equal(split.inputs.squeeze(1), theirs.data.float() / 255)
        assert torch.equal(split.targets, theirs.targets)
        assert split.targets.dtype == theirs.targets.dtype


def test_files_that_are_there_are_read_without_torchvision(tmp_path: Path) -> None:
    """It takes three seconds to import, which is longer than an epoch."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, size in idx.SIZES.items():
        (raw / name).write_bytes(bytes(size))
    code = (
        "import sys\nfrom src.data import idx, mnist\nidx.verify = lambda *_: ''\n"
        f"mnist.load({str(tmp_path)!r})\nassert 'torchvision' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PROJECT)


def test_a_download_lies_beside_its_place_until_it_is_whole(
    tmp_path: Path, server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, seen = tmp_path / "data", []
    integrity = torchvision.datasets.utils.check_integrity

    def look(place: str, *rest: object) -> bool:
        seen.append(([path.name for path in root.iterdir()], socket.getdefaulttimeout()))
        return bool(integrity(place, *rest))

    monkeypatch.setattr(torchvision.datasets.utils, "check_integrity", look)
    monkeypatch.setattr(torchvision.datasets.mnist, "check_integrity", look)
    mnist.load(str(root))
    names, patience = seen[0]
    assert [name[:10] for name in names] == [".download-"]
    assert patience == downloads.ANSWER_SECONDS
    assert [path.name for path in root.iterdir()] == ["MNIST"]
    assert socket.getdefaulttimeout() is None


def test_a_download_that_stalls_is_given_up(
    tmp_path: Path, server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mirror answers, and falls silent in the midst of a file."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            for number in range(2):  # the question whether it is there, and the download
                peer, _ = listener.accept()
                peer.recv(1000)
                peer.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 9999\r\n\r\nabc")
                if number:
                    threading.Event().wait(20)
                peer.close()

        threading.Thread(target=answer, daemon=True).start()
        mirror = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [mirror])
        monkeypatch.setattr(downloads, "ANSWER_SECONDS", 0.5)
        with pytest.raises(InputError, match="could not be downloaded"):
            mnist.load(str(tmp_path / "data"))
    assert not (tmp_path / "data").exists()
