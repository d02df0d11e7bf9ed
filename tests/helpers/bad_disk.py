"""``live-spec`` on a disk that fails: once there is a file at ``$BAD_DISK``, every fdatasync is an I/O error.

What the kernel does then is imitated too: the bytes have been written and can be read, until the power fails.
"""

from __future__ import annotations

import errno
import os

from live_spec.commands.main import main

sync = os.fdatasync


def failing(fd: int) -> None:
    if os.path.exists(os.environ["BAD_DISK"]):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    sync(fd)


if __name__ == "__main__":
    os.fdatasync = failing
    main()
