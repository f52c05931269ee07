"""A serial port as a line of bytes: what goes wrong with it, in one sentence each."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import serial

from ...errors import LinkError, PortError

POLL_SECONDS = 0.005   # that a read waits for the first byte
CHUNK_BYTES = 65536    # most bytes of one read


class SerialLine:
    """An open serial port, 8N1, which no other program can open meanwhile.

    Parameters
    ----------
    port : str
        As ``/dev/ttyUSB0`` or ``COM3``.
    baud : int
        Bits a second.
    write_timeout : float
        Seconds that the operating system may take to accept bytes.

    Raises
    ------
    PortError
        If the port does not exist, is taken, or may not be opened.
    """

    def __init__(self, port: str, baud: int, write_timeout: float) -> None:
        self.port, self.baud = port, baud
        exclusive = True if os.name == "posix" else None  # elsewhere ports are exclusive anyway
        try:
            self._serial = serial.Serial(port, baud, timeout=POLL_SECONDS, write_timeout=write_timeout, exclusive=exclusive)
        except (OSError, ValueError, OverflowError) as error:  # serial.SerialException is an OSError
            raise PortError(_opening_sentence(port, baud, error)) from error
        try:
            self._serial.set_low_latency_mode(True)  # otherwise an FTDI chip holds short replies back for 16 ms
        except (AttributeError, OSError, ValueError, NotImplementedError):
            pass  # other systems, and lines without a driver that delays

    def write(self, data: bytes) -> None:
        """Hand ``data`` to the operating system."""
        try:
            self._serial.write(data)
        except serial.SerialTimeoutException:
            raise LinkError(f"{self.port} takes no more bytes; unplug the board, plug it in and open it again") from None
        except OSError as error:
            raise self._lost() from error

    def read(self) -> bytes:
        """What has arrived; nothing if that stays so for a few milliseconds."""
        try:
            first = self._serial.read(1)
            return first + self._serial.read(min(self._serial.in_waiting, CHUNK_BYTES)) if first else b""
        except OSError as error:
            raise self._lost() from error

    def forget(self) -> None:
        """Drop what has arrived and was not read."""
        try:
            self._serial.reset_input_buffer()
        except OSError as error:
            raise self._lost() from error

    def close(self) -> None:
        """Give the port back. Closing twice does nothing."""
        try:
            self._serial.close()
        except OSError:
            pass  # it was unplugged: there is nothing to give back

    def _lost(self) -> LinkError:
        return LinkError(f"{self.port} is gone: the board was unplugged or lost its power; plug it in and open it again")


def _opening_sentence(port: str, baud: int, error: Exception) -> str:
    code = getattr(error, "errno", None)
    if code is None and error.__context__ is not None:  # what takes no settings: pyserial keeps termios' error, not its number
        code = next(iter(error.__context__.args), None)
    if isinstance(error, (ValueError, OverflowError)):
        return f"{port} cannot be opened at {baud} baud: {error}; choose another baud rate"
    if code == errno.EACCES:
        group = _group_of(port)
        cure = f"add yourself to group {group}: sudo usermod -a -G {group} $USER, then log in again" if group else "change its permissions"
        return f"You may not open {port}; {cure}"
    if code in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in str(error):
        return f"{port} is in use by another program; close that one first"
    if code in (errno.ENOENT, errno.ENXIO, errno.ENODEV) or not Path(port).exists():
        return f"There is no port {port}; plug the board in, and let permfc devices list the ports"
    if code in (errno.ENOTTY, errno.EINVAL, errno.EISDIR) or not Path(port).is_char_device():
        return f"{port} is not a serial port; let permfc devices list the ports"
    return f"{port} cannot be opened: {error}"


def _group_of(port: str) -> str | None:
    """The group that owns a port; None where there are no groups, it has no name, or nobody should join it."""
    try:
        group = Path(port).group()
        return None if group == "root" else group
    except (KeyError, NotImplementedError, OSError):
        return None
