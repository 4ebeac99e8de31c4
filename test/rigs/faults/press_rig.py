"""Presses `~/estop` repeatedly during a flood of `false`, and counts the lost presses."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

from children import Nursery

PROGRAM = Path(__file__).resolve().parents[1] / "programs" / "estop_flood.py"
QUIET_S = 0.1
# For inferences of ten periods, in a runner that tolerates them.
SLOW = {
    "safety__late_inferences": 0,
    "safety__late_ticks": 0,
    "estop__quiet_time": QUIET_S,
    "safety__hold_recover": 0.05,
    **{f"inputs__{name}__max_age": 10.0 for name in ("joints", "imu", "command")},
}


class Presses:
    """A publisher in this process that presses, and a publisher of `false` in another process."""

    def __init__(self, graph: Any, nursery: Nursery, rate_hz: float) -> None:
        """`graph`: a FaultGraph with the parameters `SLOW`."""
        from std_msgs.msg import Bool

        self._graph = graph
        self._message = Bool
        topic = f"{graph.runner}/estop"
        self._publisher = graph.peer.publisher(Bool, topic)
        self._flood = nursery(["python", str(PROGRAM), topic, str(rate_hz)], env=graph.env)
        graph.wait(lambda: "publishing" in self._flood.stdout, 20.0, "a flood of false")
        graph.wait(lambda: self._publisher.get_subscription_count(), 10.0, "the runner's ear")

    def lost(self, count: int, seed: int = 1) -> list[tuple[float, list[str]]]:
        """Press `count` times, 20 to 60 ms at 100 Hz each.

        Returns:
            For each lost press its duration [s], and the decisions and reasons that came after it.
        """
        rng = random.Random(seed)
        lost: list[tuple[float, list[str]]] = []
        for _ in range(count):
            self._run()
            time.sleep(rng.uniform(0.0, 0.3))  # at any time within an inference
            begin, lasts_s = time.monotonic(), rng.uniform(0.02, 0.06)
            while time.monotonic() - begin < lasts_s:
                self._say(True)
                time.sleep(0.01)
            self._say(False)
            if self._heard(begin):
                self._arm()
            else:
                after = [beat for at, beat in self._graph.beats if at > begin]
                seen = [f"{beat['decision']} {beat['reason']}" for beat in after]
                lost.append((lasts_s, list(dict.fromkeys(seen))))
        return lost

    def end(self) -> None:
        """End the flood."""
        assert self._flood.stop() == 0, self._flood.quote()

    def _run(self) -> None:
        """Wait for a runner that is not stopped; arm it if a slow machine has stopped it."""
        graph, end = self._graph, time.monotonic() + 60.0
        while True:
            count = len(graph.beats)
            graph.wait(lambda before=count: len(graph.beats) > before, 20.0, "a heartbeat")
            if graph.decision in ("RUN", "HOLD"):  # a slow machine holds between inferences
                return
            if graph.decision == "SAFE_STOP":
                graph.peer.trigger("arm")
            assert time.monotonic() < end, graph.say()

    def _say(self, pressed: bool) -> None:
        self._publisher.publish(self._message(data=pressed))

    def _heard(self, since: float) -> bool:
        end = time.monotonic() + 3.0
        while time.monotonic() < end:
            for at, beat in self._graph.beats[-20:]:
                if at > since and beat["reason"] == "operator stop":
                    return True
            time.sleep(0.02)
        return False

    def _arm(self) -> None:
        """Check that ~/arm releases the press, and that it was not released before."""
        end = time.monotonic() + 20.0
        time.sleep(QUIET_S)
        while not (answer := self._graph.peer.trigger("arm")).success:
            assert time.monotonic() < end, answer.message
            time.sleep(0.05)
        assert "SAFE_STOP ends" in answer.message, answer.message
