"""The study's marker: a file in its folder that every worker must see before its first trial.

A worker on a host that doesn't share the folder would leave its runs where nobody finds them.
"""

import json
import os
from pathlib import Path
from uuid import uuid4

from sqlalchemy.engine import make_url

from src.errors import InputError
from src.files import write_whole
from src.sweeping import storage as db
from src.sweeping.study import SharedStudy

FILE = ".study.json"


def check_marker(study: SharedStudy, folder: Path) -> None:
    """Hold this process to the study's folder; the first process of a study marks it.

    An SQLite file serves one machine, where a folder that was moved away may be made anew.

    Raises:
        InputError: this host doesn't see the folder of the study's other workers.
    """
    if _is_marked(study, folder):
        return
    with db.lock(study.url):
        token = study.study.user_attrs.get("marker")
        if token is None or make_url(study.url).drivername == "sqlite":
            token = token or uuid4().hex
            folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"study": study.name, "marker": token})
            write_whole(folder / FILE, f"{text}\n".encode())
            study.study.set_user_attr("marker", token)
            return
    if not _is_marked(study, folder):
        raise InputError(
            f"{folder / FILE}: host {os.uname().nodename} doesn't see the folder in which study "
            f"{study.name} began; put it on a file system that all hosts share "
            "(FAIRSTEP_OUTPUTS=DIR or hydra.sweep.dir=DIR), or choose another study=NAME"
        )


def _is_marked(study: SharedStudy, folder: Path) -> bool:
    try:
        seen = json.loads((folder / FILE).read_text()).get("marker")
    except (OSError, ValueError, AttributeError):
        return False
    return seen is not None and seen == study.study.user_attrs.get("marker")
