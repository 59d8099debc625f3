"""A headless Chromium that a test talks to over its debugging pipe (Chrome DevTools Protocol), with nothing in between."""

import base64
import json
import os
import select
import signal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from judges import need

Answer = dict[str, Any]
PATIENCE = 60  # seconds, after which a browser hangs


class Browser:
    """One page in headless Chromium; ``problems`` are console errors, exceptions, and requests for anything but the page."""

    def __init__(self, folder: Path, size: tuple[int, int] = (1280, 900)) -> None:
        program = need("chromium")
        arguments = [
            program, "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--no-first-run", f"--user-data-dir={folder}", f"--window-size={size[0]},{size[1]}",
        ]  # fmt: skip
        import fcntl  # POSIX only, as is all below

        to_child, self._out = os.pipe()
        self._in, from_child = os.pipe()
        # Chromium reads commands from descriptor 3 and answers on 4; numbers from 10 on cannot be in the way
        ends = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (to_child, from_child)]
        quiet = os.open(os.devnull, os.O_RDWR)
        places = [
            (os.POSIX_SPAWN_DUP2, fd, place)
            for fd, place in ((quiet, 1), (quiet, 2), (ends[0], 3), (ends[1], 4))
        ]
        self._process = os.posix_spawn(
            program, arguments, os.environ, file_actions=places, setpgroup=0
        )
        for fd in (to_child, from_child, quiet, *ends):
            os.close(fd)
        self._unread, self._number, self._session = b"", 0, ""
        self.problems: list[str] = []
        self._events: list[Answer] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        os.killpg(
            self._process, signal.SIGKILL
        )  # with all processes it has started; the profile is the test's own
        os.waitpid(self._process, 0)
        os.close(self._out)
        os.close(self._in)

    def send(self, method: str, **params: Any) -> Answer:
        """Send a command and return its result; events met on the way are noted."""
        self._number += 1
        message: Answer = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def _read(self) -> Answer:
        while b"\0" not in self._unread:
            assert select.select([self._in], [], [], PATIENCE)[0], "Chromium does not answer"
            more = os.read(self._in, 1 << 16)
            assert more, "Chromium has ended"
            self._unread += more
        message, _, self._unread = self._unread.partition(b"\0")
        answer: Answer = json.loads(message)
        self._note(answer.get("method", ""), answer.get("params", {}))
        return answer

    def _note(self, method: str, params: Answer) -> None:
        if method == "Page.loadEventFired":
            self._events.append(params)
        elif method == "Runtime.exceptionThrown":
            self.problems.append(str(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in {
            "error",
            "warning",
            "assert",
        }:
            self.problems.append(str(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in {"error", "warning"}:
            self.problems.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent" and not params["request"]["url"].startswith(
            ("file:", "data:")
        ):
            self.problems.append(f"asked for {params['request']['url']}")

    def open(self, path: Path) -> None:
        """Load a page and wait until it and all in it is there; once a browser."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self._events.clear()
        result = self.send("Page.navigate", url=path.absolute().as_uri())
        assert "errorText" not in result, result
        while not self._events:
            self._read()

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press the mouse at one place of the window, move it to another, and let go."""
        for kind, (x, y), buttons in (
            ("mouseMoved", start, 0),
            ("mousePressed", start, 1),
            ("mouseMoved", ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2), 1),
            ("mouseMoved", end, 1),
            ("mouseReleased", end, 0),
        ):
            self.send(
                "Input.dispatchMouseEvent",
                type=kind,
                x=x,
                y=y,
                button="left",
                buttons=buttons,
                clickCount=1,
            )

    def picture(self) -> bytes:
        """The window as a PNG."""
        return base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])
