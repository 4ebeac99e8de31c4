"""HTTP with JSON: `/act`, `/reset`, `/healthz`, `/schema`, `/metadata`, and the OpenAPI page."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel, Field

from policy_runner import __version__
from policy_runner.backends.remote.protocols.bounds import MalformedMessage, WireLimits
from policy_runner.backends.remote.protocols.json_arrays import decode_value
from policy_runner.core.errors import Refusal
from policy_runner.serving.server.offer import HttpConnection, Offer
from policy_runner.serving.server.turns import Overloaded
from policy_runner.serving.server.v2_routes import v2_router

RETRY_AFTER = {"Retry-After": "1"}


class ActRequest(BaseModel):
    """One tick: inputs by name, and in them fields, as `/schema` lists them."""

    observation: dict[str, Any] = Field(
        default_factory=dict,
        description="input -> field -> numbers, a text, or an array as json_numpy writes it",
        examples=[{"imu": {"angular_velocity": [0.0, 0.0, 0.1]}}],
    )
    reset: bool | list[bool] = Field(False, description="forget everything before this tick")
    time: float | None = Field(None, description="of this tick [s]; default: one period later")
    details: bool = Field(False, description="also answer with observations, raw and target")


class Timing(BaseModel):
    """Durations of a request [ms]."""

    queue_ms: float = Field(description="wait for the model")
    inference_ms: float = Field(description="the model, with the building of its tensors")
    total_ms: float = Field(description="from the decoded request to the answer, both included")


class ActAnswer(BaseModel):
    """The limited command of the tick, and why it is what it is."""

    actions: list[list[float | None]] = Field(description="[1, elements]; [] if there is none")
    action_names: list[str]
    decision: str | list[str] = Field(description="RUN, HOLD, SAFE_STOP or STARTING")
    reason: str | list[str] = Field(description="why it is not RUN")
    inferred: bool | list[bool] = Field(description="the model ran in this tick")
    timing: Timing
    details: dict[str, Any] = Field(default_factory=dict)


class Health(BaseModel):
    """What runs, and how it does."""

    status: str
    policy: str
    model_sha256: str
    provider: str
    waiting: int = Field(description="requests that wait for the model")
    refused: dict[str, int] = Field(description="refusals of this worker, by kind")


def http_application(offer: Offer) -> FastAPI:
    """Return the application of HTTP.

    Args:
        offer: the policy, and what its endpoints share.
    """
    about = "A policy of policy_runner, with the robot's own pipeline. One state per connection."
    app = FastAPI(title=offer.policy.loaded.spec.name, version=__version__, description=about)
    app.include_router(_router(offer))
    app.include_router(v2_router(offer))

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        # pydantic's own text repeats the given values.
        found = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:20]]
        offer.note("a body that is not as the OpenAPI page says", "status 422")
        return JSONResponse({"error": "; ".join(found)[:2000]}, 422)

    @app.exception_handler(Refusal)
    async def refused(_request: Request, error: Refusal) -> JSONResponse:
        offer.note(error)
        return JSONResponse({"error": str(error)}, 422)

    @app.exception_handler(MalformedMessage)
    async def malformed(_request: Request, error: MalformedMessage) -> JSONResponse:
        offer.note(error)
        return JSONResponse({"error": str(error)}, 400)

    @app.exception_handler(Overloaded)
    async def overloaded(_request: Request, error: Overloaded) -> JSONResponse:
        offer.note(error)
        return JSONResponse({"error": str(error)}, 503, headers=RETRY_AFTER)

    return app


def _router(offer: Offer) -> APIRouter:
    router = APIRouter()
    policy, limits = offer.policy, offer.settings.limits
    names = [one.joint for one in policy.loaded.pipeline.elements]

    @router.get("/healthz", response_model=Health, tags=["server"])
    async def healthz(request: Request) -> Response:
        """`OK`, as openpi's server says it; with `Accept: application/json` facts."""
        if "json" not in request.headers.get("accept", ""):
            return PlainTextResponse("OK\n")
        found = Health(
            status="ok", policy=policy.loaded.spec.name, model_sha256=policy.loaded.model.sha256,
            provider=policy.loaded.model.provider, waiting=offer.turns.waiting,
            refused=dict(offer.refused),
        )  # fmt: skip
        return JSONResponse(found.model_dump())

    @router.get("/metadata", tags=["server"])
    async def metadata() -> dict[str, Any]:
        """Names, periods and inputs of the policy."""
        return policy.metadata

    @router.get("/schema", tags=["server"])
    async def schema() -> dict[str, Any]:
        """JSON Schema of the observation of `/act`."""
        return policy.schema

    @router.post("/reset", tags=["policy"])
    async def reset(request: Request) -> dict[str, str]:
        """Forget histories, states, inputs and a latched stop of this connection."""
        _connection(request, offer).reset()
        return {"status": "ok"}

    @router.post("/act", response_model=ActAnswer, tags=["policy"])
    async def act(
        request: Request,
        asked: ActRequest,
        batch: int | None = Query(None, description="number of simulators, each with own state"),
    ) -> Response:
        """Compute one tick on this connection's state. Keep the connection open for the next."""
        began = time.perf_counter_ns()
        given = {
            **_decoded(asked.observation, limits),
            **({"reset": np.array(asked.reset) if batch else asked.reset} if asked.reset else {}),
            **({"time": asked.time} if asked.time is not None else {}),
            "details": asked.details,
        }
        session = _connection(request, offer).session(policy, batch)
        (fields, inference_ns), waited = await offer.turns.take(lambda: session.answer(given))
        known = ("actions", "decision", "reason", "inferred")
        answer: dict[str, Any] = {key: _plain(fields.pop(key)) for key in known}
        answer["action_names"] = names
        answer["details"] = {key: _plain(value) for key, value in fields.items()}
        answer["timing"] = {
            "queue_ms": waited / 1e6,
            "inference_ms": inference_ns / 1e6,
            "total_ms": (time.perf_counter_ns() - began) / 1e6,
        }
        return JSONResponse(answer)

    return router


def _connection(request: Request, offer: Offer) -> HttpConnection:
    """The state of the request's connection; a server without our connections has one a request."""
    found = request.scope.get("state", {}).get("connection")
    if isinstance(found, HttpConnection):
        return found
    return HttpConnection(offer.settings.bounds.most_requests_per_s)


def _decoded(given: Mapping[str, Any], limits: WireLimits, depth: int = 0) -> dict[str, Any]:
    """Return nested maps with arrays as leaves."""
    if depth > limits.most_depth:
        raise MalformedMessage(f"an observation of more than {limits.most_depth} levels")
    found: dict[str, Any] = {}
    for key, value in given.items():
        nested = isinstance(value, dict) and "__numpy__" not in value
        if nested:
            found[key] = _decoded(value, limits, depth + 1)
        else:
            found[key] = decode_value(value, limits)
    return found


def _plain(value: Any) -> Any:
    """Lists for arrays; null for NaN and infinity, which JSON does not have."""
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        boxed = value.astype(object)
        boxed[~np.isfinite(value)] = None
        return boxed.tolist()
    return value.tolist()
