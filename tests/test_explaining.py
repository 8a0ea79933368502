"""`--help` says what each key means, as the comments in conf/ do."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from src.comparing.protocol import Protocol
from src.config import CONF, Config, Data, EarlyStopping, Objective, Trainer
from src.explaining import commented, keys
from tests.helpers import Session

TEXT = """# Of the file.
defaults:
  - _self_
  - optimizer: adam  # the method
a: 1               # the first: 1, not 2
b:
  c: [x, y]        # a list
  d:               # a node
    e: "#"
f: {}
"""


def test_keys_and_comments(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(TEXT)
    assert [*commented(tmp_path / "a.yaml")] == [
        ("defaults.optimizer", "adam", "the method"),
        ("a", "1", "the first: 1, not 2"),
        ("b.c", "[x, y]", "a list"),
        ("b.d", "", "a node"),
    ]
    assert [key for key, _ in keys(TEXT) if key] == [
        *("defaults", "defaults.optimizer", "a", "b", "b.c", "b.d", "b.d.e", "f")
    ]


def shown(text: str) -> dict[str, str]:
    """The explained keys of a help text, and what is said of each."""
    lines = [(key, line.partition("  # ")[2]) for key, line in keys(text)]
    return {key: said for key, said in lines if said}


def test_train_explains_every_key(session: Session) -> None:
    told = shown(session.train("--help", "data=mnist").out)
    groups = {"data": Data, "trainer": Trainer, "objective": Objective,
              "trainer.early_stopping": EarlyStopping}  # fmt: skip
    asked = {f"{group}.{key}" for group, kind in groups.items() for key in kind.model_fields}
    assert {*Config.model_fields, "sweeps", "experiment"} | asked <= told.keys()
    for group, file in {"trainer": "default", "data": "mnist", "model": "mlp"}.items():
        for key, _, text in commented(CONF / group / f"{file}.yaml"):
            assert told[f"{group}.{key}"] == text


def test_train_shows_its_flags_and_what_a_search_is_told(session: Session) -> None:
    said = session.train("--help").out
    for flag in ("-m", "--cfg job", "--config-dir DIR", "--help", "--hydra-help"):
        assert re.search(rf"^{flag} +\w", said, re.M), flag
    search = said[said.index("Values of a search") :]
    for _, value, text in commented(CONF / "hydra" / "sweeper" / "study.yaml"):
        assert re.search(rf"^[\w.]+: {re.escape(value)} +# {re.escape(text)}$", search, re.M)
    assert re.search(r"^n_trials: 40 +# in all, however often", search, re.M)
    assert re.search(r"^study: \$\{study_name:\} +# SWEEP-DATA-MODEL", search, re.M)
    assert re.search(r"^hydra\.sweeper\.max_failures: 5 +# failures in a row", search, re.M)


def test_train_explains_the_choices_that_were_made(session: Session) -> None:
    """Files of one's own, too."""
    file = session.folder / "mine" / "model" / "own.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("_target_: src.models.MLP\nhidden_sizes: []  # ours: none\n")
    own = ("--config-dir", str(file.parents[1]), "model=own")
    told = shown(session.train("--help", *own, "logger=wandb", "scheduler=step").out)
    assert told["model.hidden_sizes"] == "ours: none"
    assert told["logger.wandb.mode"] == "offline | online"
    assert told["scheduler.gamma"] == "the factor of each, in [0, 1]"


def test_compare_explains_its_own_keys() -> None:
    command = [sys.executable, "-m", "src.compare", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    assert re.search(r"^methods=\[sgd, .*\] +# files of sweeps/", said, re.M)
    for key, value, text in commented(CONF / "protocol" / "default.yaml"):
        line = rf"^protocol\.{key}={re.escape(value)} +# {re.escape(text)}$"
        assert re.search(line, said, re.M), key
        assert key in Protocol.model_fields
    assert said.count("\nprotocol.") == len(Protocol.model_fields)


@pytest.mark.parametrize("entry", ["train", "compare"])
def test_help_needs_no_torch(entry: str) -> None:
    code = (
        f"import sys\nfrom src.{entry} import main\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules, 'optuna' in sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "--help"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert answer.stderr.splitlines()[-1] == "False False"
