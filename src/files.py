"""Files that are whole or not there."""

import errno
import os
import tempfile
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no space left, a quota reached, a limit of size


def write_whole(path: Path, content: bytes, *, flush: bool = False) -> None:
    """Write beside the file and rename into it, so that a reader never sees half a file.

    Args:
        path: the file; what was there is replaced.
        content: all of it.
        flush: also wait until the disk has it, so that it outlasts a power cut.

    Raises:
        OSError: naming the file, of which nothing has changed.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.unlink(missing_ok=True)
        with open(beside, "xb") as file:  # x follows no link that somebody left there
            file.write(content)
            if flush:
                file.flush()
                os.fsync(file.fileno())
        beside.replace(path)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            error.filename = str(path)  # a failed write names none
        raise
    if flush:
        _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    """Make a rename outlast a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush(path: Path) -> None:
    """Wait until the disk has what was written to a file."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def check_writable(folder: Path) -> None:
    """Try to write where a folder is or will be; permissions alone don't tell.

    Raises:
        OSError: it can't be made there, or nothing can be written into it.
    """
    path = next(parent for parent in (folder, *folder.parents) if parent.exists())
    with tempfile.TemporaryDirectory(dir=path):
        pass


def full_disk(error: BaseException | None) -> OSError | None:
    """The error of a full disk: this error or one that it was raised from; None if neither is."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return error
        error = error.__cause__
    return None


def no_room(folder: Path, size: int = 0) -> OSError | None:
    """The error of writing 64 KiB more to the folder's disk, if the disk is full.

    Args:
        folder: exists.
        size: of the file that they are added to, which takes no space.
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
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{path} leads out of {folder}")
    return path
