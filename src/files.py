"""Files that are whole or not there."""

import errno
import os
import tempfile
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no space left, a quota reached, a limit of size


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


def full_disk(error: BaseException | None) -> OSError | None:
    """What a full disk said, be it the error or one that it was raised from; None if none did."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return error
        error = error.__cause__
    return None


def no_room(folder: Path, size: int = 0) -> OSError | None:
    """What the folder's disk says to 64 KiB more, if it is full.

    Args:
        folder: exists.
        size: of the file that they would be added to; it takes no space.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.seek(size)
            file.write(bytes(2**16))
            file.flush()
            os.fsync(file.fileno())  # some disks say only then that they are full
    except OSError as error:
        error.filename = str(folder)  # a failed write names none
        return full_disk(error)
    return None


def inside(folder: Path, name: str) -> Path:
    """A file of the folder, links followed.

    Raises:
        ValueError: it leads out of the folder.
    """
    place = folder / name
    if not place.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{place} leads out of {folder}")
    return place
