"""The Open Inference Protocol, version 2: the model's own tensors, without terms and state.

An unmodified `tritonclient` runs against these paths. Answers have the timing among their
parameters.
"""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from policy_runner import __version__
from policy_runner.backends.remote.protocols.v2_messages import (
    JSON_LENGTH,
    datatype,
    decode_request,
    encode_answer,
)
from policy_runner.core.errors import refuse
from policy_runner.serving.server.offer import Offer
from policy_runner.serving.session.tensor_runs import MOST_ROWS, TensorRuns, described

VERSION = "1"


def v2_router(offer: Offer) -> APIRouter:
    """Return the routes below /v2.

    Args:
        offer: the policy, and what its endpoints share.
    """
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])
    policy = offer.policy

    def tensors(name: str, version: str = VERSION) -> TensorRuns:
        if name != policy.name or version != VERSION:
            expected = f"the model '{policy.name}', version {VERSION}"
            raise refuse("", "/v2/models", expected, f"'{name[:100]}', version {version[:20]}")
        if policy.tensors is None:
            raise refuse("", "/v2/models", "a policy of one model", "several models", "use /act")
        return policy.tensors

    @router.get("")
    async def server() -> dict[str, Any]:
        """Name and version of the server."""
        extensions = ["binary_tensor_data"]
        return {"name": "policy_runner", "version": __version__, "extensions": extensions}

    @router.get("/health/live")
    async def live() -> Response:
        """The server runs."""
        return Response()

    @router.get("/health/ready")
    async def ready() -> Response:
        """The model is loaded."""
        return Response()

    @router.post("/repository/index")
    async def index() -> list[dict[str, str]]:
        """The one model."""
        return [{"name": policy.name, "version": VERSION, "state": "READY"}]

    async def metadata(name: str, version: str = VERSION) -> dict[str, Any]:
        """Names, types and shapes of the tensors."""
        runs = tensors(name, version)
        return {
            "name": policy.name,
            "versions": [VERSION],
            "platform": "policy_runner",
            "inputs": described(runs.inputs, runs.open_batch, datatype),
            "outputs": described(runs.outputs, runs.open_batch, datatype),
        }

    async def model_ready(name: str, version: str = VERSION) -> Response:
        """The model is loaded."""
        tensors(name, version)
        return Response()

    async def config(name: str, version: str = VERSION) -> dict[str, Any]:
        """The model as Triton configures it."""
        runs = tensors(name, version)
        rows: dict[str, Any] = {
            "name": policy.name,
            "platform": "policy_runner",
            "backend": "policy_runner",
            "max_batch_size": MOST_ROWS if runs.open_batch else 0,
        }
        for key, several in (("input", runs.inputs), ("output", runs.outputs)):
            rows[key] = [
                {
                    "name": one["name"],
                    "data_type": f"TYPE_{one['datatype']}",
                    "dims": one["shape"][1:] if runs.open_batch else one["shape"],
                }
                for one in described(several, False, datatype)
            ]
        return rows

    async def infer(name: str, request: Request, version: str = VERSION) -> Response:
        """Run the model on the given tensors."""
        began = time.perf_counter_ns()
        runs = tensors(name, version)
        limits = offer.settings.limits
        asked = decode_request(await request.body(), request.headers.get(JSON_LENGTH), limits)
        for one in asked.outputs:
            if one not in runs.outputs:
                expected = f"one of {', '.join(runs.outputs)}"
                raise refuse("", "the request: outputs", expected, f"'{one[:100]}'")

        def timed() -> tuple[Any, int]:
            start = time.perf_counter_ns()
            found = runs.run(asked.tensors)
            return found, time.perf_counter_ns() - start

        (found, inference_ns), waited = await offer.turns.take(timed)
        timing = {
            "queue_ms": waited / 1e6,
            "inference_ms": inference_ns / 1e6,
            "total_ms": (time.perf_counter_ns() - began) / 1e6,
        }
        body, length = encode_answer(found, asked, policy.name, VERSION, timing)
        if length is None:
            return Response(body, media_type="application/json")
        headers = {JSON_LENGTH: str(length)}
        return Response(body, headers=headers, media_type="application/octet-stream")

    for path in ("/models/{name}", "/models/{name}/versions/{version}"):
        router.add_api_route(path, metadata, methods=["GET"])
        router.add_api_route(f"{path}/ready", model_ready, methods=["GET"])
        router.add_api_route(f"{path}/config", config, methods=["GET"])
        router.add_api_route(f"{path}/infer", infer, methods=["POST"])
    return router
