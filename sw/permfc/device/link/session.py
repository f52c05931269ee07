"""A conversation with a board: requests in order, each executed once, whatever the line does to the frames (docs/protocol.md, "Order")."""

from __future__ import annotations

import secrets
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from ...errors import DeviceError, LinkError, VersionError
from ...format import VERSION
from . import frames
from .protocol import BOARD_NAME_BYTES, BYTES_PER_REQUEST, IDENTITY, LINK_VERSION, PATIENCE_CYCLES, REPLY_HEADER, Command, Identity, ReplyStatus
from .window import SEQUENCES, Request, Window

TIMEOUT_SECONDS = 5.0   # without progress until the board is given up
MARGIN_SECONDS = 0.25   # that operating system and USB may add to an answer before a request is sent again
LATENCY_SECONDS = 0.001  # that they usually add
MOST_DELAY = 10         # by which an answer may be slower than the last one was, before the board is given up
FEWEST_TRIES = 4        # before silence is believed, or another program
SLOWEST_CLOCK_HZ = 10e6  # assumed of a board that has not told its clock yet
BITS_PER_BYTE = 10      # on the line: start and stop bit included

_NONCE = struct.Struct("<I")
_VERSIONS = struct.Struct(f"<HH{BOARD_NAME_BYTES}s")  # what begins the identity in every version

_REFUSALS: dict[int, str] = {
    ReplyStatus.UNKNOWN_COMMAND: "does not know the command",
    ReplyStatus.BAD_PAYLOAD: "found the request too short",
    ReplyStatus.READ_ONLY: "cannot write its memory",
    ReplyStatus.BUSY: "was busy",
    ReplyStatus.MEMORY_ERROR: "found an address outside of its memory",
    ReplyStatus.MEMORY_SILENT: "has a memory that does not answer; reset the board",
}


class Line(Protocol):
    """Bytes to and from a board; see :class:`permfc.device.link.serial_line.SerialLine`."""

    port: str
    baud: int

    def write(self, data: bytes) -> None: ...
    def read(self) -> bytes: ...
    def forget(self) -> None: ...
    def close(self) -> None: ...


class Refusal(DeviceError):
    """The board answered with another status than OK.

    Members
    -------
    status : int
    """

    def __init__(self, board: str, command: Command, status: int) -> None:
        self.status = status
        reason = _REFUSALS.get(status, f"answered with status {status}, which this program does not know")
        super().__init__(f"{board} refused {command.name}: it {reason}")


class Session:
    """Requests to one board. Making one says HELLO.

    How long an answer may take follows from the bytes on the line, the board's cycles, and how much slower than that its last answer was: a
    simulated board is a thousand times slower than a real one. What is not answered in time is sent again, each time with twice the patience.

    Parameters
    ----------
    line : Line
        The session closes it when HELLO fails, and at the end.
    timeout : float
        Seconds without progress after which the board is given up; more for what the board itself needs longer for.
    margin : float
        Seconds that the way to the board may add to an answer.

    Members
    -------
    repeats : int
        Requests so far that were sent again.

    Raises
    ------
    LinkError
        If nothing answers, or something that is no board.
    VersionError
        If the board's bitstream has another version of protocol or format.
    """

    def __init__(self, line: Line, timeout: float = TIMEOUT_SECONDS, margin: float = MARGIN_SECONDS) -> None:
        self._line, self._timeout, self._margin = line, timeout, margin
        self._decoder = frames.FrameDecoder()
        self._heard: deque[bytes] = deque()  # frames that were not looked at yet
        self._bytes_heard = self._next = self.repeats = 0
        self._slowness = 1.0  # seconds that an answer takes, for each that line and board should need
        self._failure: LinkError | None = None
        self._known: Identity | None = None
        try:
            line.forget()
            self.hello()
        except DeviceError:
            line.close()
            raise

    @property
    def identity(self) -> Identity:
        """Value of what the board answered."""
        assert self._known is not None  # making a session says HELLO
        return self._known

    def close(self) -> None:
        """Close the line. Closing twice does nothing."""
        self._failure = self._failure or LinkError(f"{self._line.port} is closed; open it again")
        self._line.close()

    def hello(self) -> None:
        """Clear engine and link; the image stays.

        Raises
        ------
        DeviceError
            If the engine stays busy, and as the class.
        """
        if self._failure:
            raise LinkError(str(self._failure))
        try:
            self._say_hello()
        except Refusal:
            raise
        except BaseException as error:
            self._fail(error)
            raise

    def _say_hello(self) -> None:
        self._next = secrets.randbelow(SEQUENCES)  # what is still on its way from an earlier session is not taken for an answer
        sent: dict[bytes, float] = {}              # when each nonce was
        give_up, patience = time.monotonic() + self._timeout, self._margin
        while True:
            nonce = _NONCE.pack(secrets.randbits(32))
            window = Window([(Command.HELLO, nonce)], self._next, 0, lambda reply: reply.payload[-_NONCE.size:] in sent)
            sent[nonce] = self._send(window)
            reply = self._hear(window, min(time.monotonic() + patience, give_up))
            if reply and reply.status == ReplyStatus.OK:
                break
            if reply and (reply.status != ReplyStatus.BUSY or time.monotonic() > give_up):
                self._next = reply.next
                raise Refusal(self._name, Command.HELLO, reply.status)
            if reply is None and time.monotonic() >= give_up:
                raise self._silence(self._timeout)
            patience *= 1 if reply else 2
        began = sent[reply.payload[-_NONCE.size:]]
        self._slowness = max(1.0, (time.monotonic() - began) / self._needed_seconds([(Command.HELLO, nonce)], 0))
        self._next = reply.next
        self._known = self._identity_in(reply.payload)

    def ask(self, command: Command, payload: bytes = b"", cycles: int = 0, waits: bool = False) -> bytes:
        """The payload of the reply to one request that takes the board ``cycles`` cycles, or as long as it has patience if it ``waits``.

        Raises
        ------
        Refusal
            If the board answers with another status than OK.
        LinkError
            If the board is silent, was reset or unplugged; every later request then raises the same.
        """
        return self._exchange([(command, payload)], cycles, waits)

    def ask_all(self, requests: Sequence[Request], progress: Callable[[int], None] | None = None) -> None:
        """Requests without answers, as many in flight as the board can take; ``progress`` is told how many are done. Raises as `ask`.

        A refusal is not noticed if its reply is lost, so the effect must be verified afterwards.
        """
        self._exchange(requests, progress=progress)

    def _exchange(
        self, requests: Sequence[Request], cycles: int = 0, waits: bool = False, progress: Callable[[int], None] | None = None
    ) -> bytes:
        """The payload of the last reply; raises what `ask` does."""
        if self._failure:
            raise LinkError(str(self._failure))
        window = Window(requests, self._next, self.identity.receive_bytes)
        needed = self._needed_seconds(requests, cycles)
        began, repeats = time.monotonic(), self.repeats
        try:
            self._converse(window, needed + (PATIENCE_CYCLES / self._clock_hz if waits else 0), progress)
        except BaseException as error:
            self._fail(error)
            raise
        if len(requests) == 1 and not waits:
            taken = (time.monotonic() - began) / needed
            self._slowness = max(1.0, taken if self.repeats == repeats else min(taken, 2 * self._slowness))  # sent again: lost, or only late
        self._next = window.next
        if window.refused:
            raise Refusal(self._name, *window.refused)
        return window.answer

    def _fail(self, error: BaseException) -> None:
        """Every later request raises a LinkError: ``error`` itself, or that Ctrl-C or an error of ``progress`` interrupted a request.

        The board may have executed that request and would answer the next one, which has its number, with its reply.
        """
        interrupted = f"A request to {self._name} was interrupted; open it again and load the network"
        self._failure = error if isinstance(error, LinkError) else LinkError(interrupted)

    def _converse(self, window: Window, needed: float, progress: Callable[[int], None] | None) -> None:
        """Send and hear until the window is finished; ``needed`` seconds should each round take."""
        limit = max(self._timeout, MOST_DELAY * self._slowness * needed)
        progressed = time.monotonic()
        repeats = strange = 0
        while not window.finished:
            began = self._send(window)
            patience = min((self._margin + 2 * self._slowness * needed) * 2**repeats, limit / FEWEST_TRIES)
            reply = self._hear(window, min(began + patience, progressed + limit))
            if reply is None:
                if time.monotonic() >= progressed + limit:
                    raise self._silence(limit)
                repeats += 1
                self.repeats += window.go_back()
            elif window.take(reply):
                progressed, repeats = time.monotonic(), 0
                if progress:
                    progress(window.done)
            if reply and window.is_gap(reply):
                self.repeats += window.go_back()
            strange += reply is not None and window.is_strange(reply)
            if strange == FEWEST_TRIES:
                raise self._stranger()

    def _send(self, window: Window) -> float:
        """Send what the window allows; the time when that began."""
        began = time.monotonic()
        sending = window.to_send()
        if sending:
            self._line.write(b"".join(frames.request(sequence, *request) for sequence, request in sending))
        return began

    def _hear(self, window: Window, until: float) -> frames.Reply | None:
        """The next reply that concerns the window; None when it is late."""
        while True:
            while self._heard:
                reply = frames.Reply.parse(self._heard.popleft())
                if reply and window.concerns(reply) and not self._is_not_open(reply):
                    return reply
            if time.monotonic() >= until:
                return None
            data = self._line.read()
            self._bytes_heard += len(data)
            self._heard.extend(self._decoder.feed(data))

    def _is_not_open(self, reply: frames.Reply) -> bool:
        """Whether a board that waits for HELLO answered; while we say HELLO that is a late answer to someone else."""
        if reply.status != ReplyStatus.NOT_OPEN:
            return False
        if self._known is None:
            return True
        raise LinkError(f"{self._name} was reset in the meantime; open it again and load the network")

    def _needed_seconds(self, requests: Sequence[Request], cycles: int) -> float:
        """What line and board need for the requests that may be in flight together, and for an answer as large as HELLO's."""
        sizes = [len(payload) + BYTES_PER_REQUEST for _, payload in requests]
        in_flight = min(sum(sizes), max(sizes[0], self._known.receive_bytes if self._known else 0))
        on_the_line = (in_flight + REPLY_HEADER.size + IDENTITY.size) * BITS_PER_BYTE / self._line.baud
        return LATENCY_SECONDS + on_the_line + cycles / self._clock_hz

    @property
    def _clock_hz(self) -> float:
        return self._known.clock_hz if self._known else SLOWEST_CLOCK_HZ

    @property
    def _name(self) -> str:
        return f"{self._known.board} at {self._line.port}" if self._known else self._line.port

    def _stranger(self) -> LinkError:
        cure = "close that one, then open the board again and load the network"
        return LinkError(f"{self._name} is in use by another program, whose requests it counts instead of these; {cure}")

    def _silence(self, seconds: float) -> LinkError:
        if self._known:
            return LinkError(f"{self._name} gave no answer for {seconds:.1f} s; check the cable, reset the board and open it again")
        where = f"at {self._line.port} with {self._line.baud} baud"
        if self._bytes_heard:
            return LinkError(f"What answers {where} is no permfc board, or has another baud rate; choose another port or PORT@BAUD")
        return LinkError(f"No permfc board answers {where}; check the port, the baud rate (PORT@BAUD) and that the bitstream is loaded")

    def _identity_in(self, answer: bytes) -> Identity:
        link, form, board = _VERSIONS.unpack_from(answer)
        name = board.rstrip(b"\0").decode("ascii", "replace")
        if (link, form) != (LINK_VERSION, VERSION):
            raise VersionError(
                f"The bitstream of {name} at {self._line.port} has link version {link} and image format {form}, this program link version "
                f"{LINK_VERSION} and image format {VERSION}; build and load the bitstream again, or install the permfc that it was built with"
            )
        return Identity.unpack(answer)
