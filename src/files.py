"""Files that are whole or not there."""

import os
import tempfile
from pathlib import Path


def write_whole(place: Path, content: bytes, *, flush: bool = False) -> None:
    """Write beside the place and rename into it, so that a reader never sees half a file.

    Args:
        place: the file; what was there is replaced.
        content: all of it.
        flush: also wait until the disk has it, so that it outlasts a power cut.

    Raises:
        OSError: naming the place, where nothing has changed.
    """
    beside = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        beside.unlink(missing_ok=True)
        with open(beside, "xb") as file:  # x follows no link that somebody left there
            file.write(content)
            if flush:
                file.flush()
                os.fsync(file.fileno())
        beside.replace(place)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            error.filename = str(place)  # a failed write names none
        raise
    if flush:
        _flush_folder(place.parent)


def _flush_folder(folder: Path) -> None:
    """Make a rename outlast a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush(place: Path) -> None:
    """Wait until the disk has what was written to a file."""
    with open(place, "rb") as file:
        os.fsync(file.fileno())


def check_writable(folder: Path) -> None:
    """Try to write where a folder is or will be; permissions alone don't tell.

    Raises:
        OSError: it can't be made there, or nothing can be written into it.
    """
    place = next(one for one in (folder, *folder.parents) if one.exists())
    with tempfile.TemporaryDirectory(dir=place):
        pass


def inside(folder: Path, name: str) -> Path:
    """A file of the folder, links followed.

    Raises:
        ValueError: it leads out of the folder.
    """
    place = folder / name
    if not place.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{place} leads out of {folder}")
    return place
