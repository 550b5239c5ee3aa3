"""What a worker process keeps of its parent's messages."""

import os
import pickle
import socket
import threading

import pytest

from local_ai_server.link import LENGTH, Link


def test_cancels_that_came_too_late_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = threading.Event()
    monkeypatch.setattr(os, "_exit", lambda code: gone.set())
    ours, theirs = socket.socketpair()
    with theirs:
        link = Link(theirs)
        with ours:
            for job in range(1, 100):
                for message in ((job, "speak", ()), (job, None, ())):
                    data = pickle.dumps(message)
                    ours.sendall(LENGTH.pack(len(data)) + data)
            assert [link.jobs.get(timeout=10)[0] for _ in range(1, 100)] == list(range(1, 100))
        assert gone.wait(10)
        assert [job for job in range(1, 101) if link.is_cancelled(job)] == [99]
