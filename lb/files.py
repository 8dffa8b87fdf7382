"""Writing a file whole."""

import os
from pathlib import Path


def replace_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new one and never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        os.chmod(new, mode)
        new.rename(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
