"""`policy-runner ctl`: operate a running node without the `ros2` command."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from policy_runner.cli.command_parser import CommandParser, check_ros, table_width
from policy_runner.core.errors import Refusal
from policy_runner.ros.operate.report import RunnerReport, full_name
from policy_runner.ros.process.lifetime import EndRequest, end_on_signal
from policy_runner.ros.process.transport import prefer_udp

if TYPE_CHECKING:
    from policy_runner.ros.operate.client import RunnerClient

# Exit codes; 2 is a wrong command line. The guide `docs/guides/operating.md` lists them.
DONE, REFUSED, NO_ANSWER, DOES_NOT_RUN, INTERRUPTED = 0, 1, 3, 4, 130
# Service: (what it does, how long its answer may take [s]).
_TRIGGERS = {
    "arm": ("let the policy command the robot", 5.0),
    "disarm": ("stop the robot until it is armed again", 5.0),
    "reset": ("reset histories, recurrent state and the last action", 5.0),
    "reload": ("read the policy's files again and swap it while it runs", 120.0),
    "dump": ("write the black box to a file", 60.0),
}
_HEARD_WITHIN_S = 5.0  # discovery takes up to 3 s, and statuses come once a second
_REFRESH_S = 0.25
_ASK_EVERY_S = 1.0


def add_arguments(parser: CommandParser) -> None:
    """Add one command for each request."""
    parser.add_commands()

    def trigger(service: str) -> None:
        text, answer_s = _TRIGGERS[service]
        command = parser.add_command(service, text, run=lambda o: _trigger(o, service, answer_s))
        _add_node(command)

    for service in ("arm", "disarm", "reset", "reload"):
        trigger(service)
    estop = parser.add_command("estop", "press the emergency stop; only `arm` ends it", run=_estop)
    _add_node(estop)
    estop.add_argument("--topic", default="", help="another one of the node's estop.topics")
    prompt = parser.add_command("prompt", "give the policy a text, such as a task", run=_prompt)
    prompt.add_argument("text", metavar="TEXT", help="the newest text counts; '' is none")
    _add_node(prompt)
    status = parser.add_command("status", "print what the node does, and why", run=_status)
    _add_node(status)
    how = status.add_mutually_exclusive_group()
    how.add_argument("--watch", action="store_true", help="until Ctrl-C")
    how.add_argument("--json", action="store_true", help="print JSON")
    trigger("dump")


def _add_node(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", default="policy_runner",
                        help="of the node, or its full name; default policy_runner")  # fmt: skip
    parser.add_argument("--namespace", default="", help="of the node; default none")
    parser.add_argument("--timeout", type=_seconds, default=10.0, metavar="S",
                        help="how long to look for the node; default 10 s")  # fmt: skip


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(f"expected seconds above 0 and up to 3600, got {text}")
    return value


def _operate(options: argparse.Namespace, work: Callable[[RunnerClient, EndRequest], int]) -> int:
    """Connect, do the work, and turn its errors into exit codes."""
    name = full_name(options.name, options.namespace)
    check_ros()
    ended = end_on_signal(at_once=True)
    prefer_udp()
    from policy_runner.ros.operate.client import Interrupted, RunnerClient, Unanswered

    ended.at_once = False
    client = RunnerClient(name, ended, options.timeout)
    try:
        return work(client, ended)
    except Unanswered as error:
        return _say(options, error, NO_ANSWER)
    except Refusal as error:
        return _say(options, error, REFUSED)
    except Interrupted:
        print(f"{options.called}: interrupted; see `policy-runner ctl status`", file=sys.stderr)
        return INTERRUPTED
    finally:
        client.close()


def _say(options: argparse.Namespace, error: Refusal, code: int) -> int:
    for problem in error.problems:
        print(f"{options.called}: {problem}", file=sys.stderr)
    return code


def _trigger(options: argparse.Namespace, service: str, answer_s: float) -> int:
    def work(client: RunnerClient, _ended: EndRequest) -> int:
        accepted, message = client.trigger(service, answer_s)
        if accepted:
            print(f"{client.name}: {message}")
            return DONE
        print(f"{options.called}: {client.name} refused: {message}", file=sys.stderr)
        return REFUSED

    return _operate(options, work)


def _estop(options: argparse.Namespace) -> int:
    def work(client: RunnerClient, _ended: EndRequest) -> int:
        print(f"{client.name}: {client.press_estop(options.topic)}")
        return DONE

    return _operate(options, work)


def _prompt(options: argparse.Namespace) -> int:
    def work(client: RunnerClient, _ended: EndRequest) -> int:
        client.set_prompt(options.text)
        print(f"{client.name}: prompt {options.text!r}")
        return DONE

    return _operate(options, work)


def _status(options: argparse.Namespace) -> int:
    return _operate(options, _watch if options.watch else lambda c, e: _once(c, e, options.json))


def _once(client: RunnerClient, ended: EndRequest, as_json: bool) -> int:
    client.hear()
    is_active = client.lifecycle() == "active"
    wanted = "safety" if is_active else "model"
    deadline = time.monotonic() + _HEARD_WITHIN_S

    def report() -> RunnerReport:
        return client.keeper.report(time.monotonic_ns())

    while time.monotonic() < deadline and not ended.wait(0.02):
        heard = report()
        if wanted in heard.parts and (heard.decision or not is_active):
            break
    heard = report()
    if as_json:
        print(json.dumps({**asdict(heard), "headline": heard.headline}, indent=2))
    else:
        from rich.console import Console

        from policy_runner.cli.operate.status_view import view

        Console(highlight=False, width=table_width()).print(view(heard))
    return DONE if heard.runs else DOES_NOT_RUN


def _watch(client: RunnerClient, ended: EndRequest) -> int:
    from rich.console import Console
    from rich.live import Live

    from policy_runner.cli.operate.status_view import view

    client.hear()
    asked_s = -_ASK_EVERY_S
    with Live(console=Console(highlight=False), auto_refresh=False) as live:
        while True:
            now_s = time.monotonic()
            if now_s - asked_s >= _ASK_EVERY_S:
                client.ask_lifecycle()
                asked_s = now_s
            client.look()
            live.update(view(client.keeper.report(time.monotonic_ns())), refresh=True)
            if ended.wait(_REFRESH_S):
                return DONE
