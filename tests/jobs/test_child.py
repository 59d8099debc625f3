"""A child process that is ended."""

import os
import signal
import time
from multiprocessing.connection import Connection

import pytest

from sdr2hdr.jobs.child import Child, begin


def leaving(pipe: Connection) -> None:
    """Work that takes a while to leave behind."""
    begin()
    try:
        pipe.send("begun")
        time.sleep(60)
    finally:
        pipe.send("leaving")
        time.sleep(0.3)
        pipe.send("left")


@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGINT])
def test_a_child_that_is_being_ended_is_not_interrupted_again(again: signal.Signals) -> None:
    child = Child.start(leaving)
    number = child.process.pid
    assert number is not None and child.pipe.recv() == "begun"
    child.process.terminate()
    assert child.pipe.recv() == "leaving"
    os.kill(number, again)
    assert child.pipe.recv() == "left"
    child.end()
