"""The requests of one exchange: which to send, what a reply to them means. No line and no time: see Session."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .frames import Reply
from .protocol import BYTES_PER_REQUEST, WINDOW, Command, ReplyStatus

SEQUENCES = 256

Request = tuple[Command, bytes]
NOT_EXECUTED = (ReplyStatus.GAP, ReplyStatus.NOT_OPEN)


class Window:
    """Go-back-N over some requests.

    Parameters
    ----------
    requests : sequence of (command, payload)
    first : int
        Sequence number of the first.
    receive_bytes : int
        Size of the board's receive buffer.
    accepts : callable, optional
        Whether a reply with status OK is the one that is awaited.

    Members
    -------
    done, sent : int
        Requests that were executed, and that were sent; those between are in flight.
    answer : bytes
        Payload of the last reply that acknowledged a request.
    refused : (Command, int) or None
        The first request that the board refused, and the status of its reply; no others are sent after it.
    """

    def __init__(self, requests: Sequence[Request], first: int, receive_bytes: int, accepts: Callable[[Reply], bool] | None = None) -> None:
        self._requests, self._first, self._receive_bytes, self._accepts = requests, first, receive_bytes, accepts
        self._count = len(requests)
        self._went_back = -1
        self.done = self.sent = 0
        self.answer = b""
        self.refused: tuple[Command, int] | None = None

    @property
    def finished(self) -> bool:
        """Value of whether nothing is left to do."""
        return self.done == self._count

    @property
    def next(self) -> int:
        """Value of the sequence number of the first request that was not executed."""
        return (self._first + self.done) % SEQUENCES

    def to_send(self) -> list[tuple[int, Request]]:
        """The sequence numbers and requests that are in flight from now on and were not before: as many as the board has room for."""
        room = self._receive_bytes - sum(self._size(number) for number in range(self.done, self.sent))
        begin = self.sent
        while self.sent < self._count and self.sent - self.done < WINDOW and (self._size(self.sent) <= room or self.sent == self.done):
            room -= self._size(self.sent)
            self.sent += 1
        return [((self._first + number) % SEQUENCES, self._requests[number]) for number in range(begin, self.sent)]

    def _size(self, number: int) -> int:
        return len(self._requests[number][1]) + BYTES_PER_REQUEST

    def go_back(self) -> int:
        """Everything in flight is to be sent again; returns how many those are."""
        again, self.sent = self.sent - self.done, self.done
        return again

    def concerns(self, reply: Reply) -> bool:
        """Whether a reply is to a request in flight, not a late one to an earlier request."""
        in_flight = (reply.sequence - self.next) % SEQUENCES < self.sent - self.done
        return in_flight and (reply.status != ReplyStatus.OK or self._accepts is None or self._accepts(reply))

    def take(self, reply: Reply) -> bool:
        """What a reply that `concerns` this window says; True if it acknowledges any request."""
        acknowledged = (reply.next - self.next) % SEQUENCES
        if acknowledged > self.sent - self.done:
            return False
        if reply.status not in (ReplyStatus.OK, ReplyStatus.REPEATED, *NOT_EXECUTED) and self.refused is None:
            number = self.done + (reply.sequence - self.next) % SEQUENCES
            self.refused, self._count = (self._requests[number][0], reply.status), self.sent
        self.done += acknowledged
        if acknowledged:
            self.answer = reply.payload
        return acknowledged > 0

    def is_strange(self, reply: Reply) -> bool:
        """Whether the board refuses a request for its number and awaits one that was never sent: it has heard from someone else."""
        acknowledged = (reply.next - self.next) % SEQUENCES
        return reply.status in (ReplyStatus.GAP, ReplyStatus.REPEATED) and acknowledged > self.sent - self.done

    def is_gap(self, reply: Reply) -> bool:
        """Whether a reply is the first to say that a request was lost; those to the others in flight say it again."""
        new = reply.status == ReplyStatus.GAP and self._went_back != self.done
        if new:
            self._went_back = self.done
        return new
