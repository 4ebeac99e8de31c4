"""Policies of Stable-Baselines3 and sb3-contrib: what `model.predict(deterministic=True)` gives.

The graph gives the action of the training environment: a squashed action (SAC, TD3) is unscaled
to the action space inside the graph; PPO's is clipped to it, which the policy spec says as
`clip_raw`. A discrete policy gives the logits.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from policy_runner.core.errors import refuse
from policy_runner.export.sources.sb3_archive import Archive, read_archive
from policy_runner.export.sources.trained_policy import (
    Arrays,
    StateTensor,
    Statistics,
    TensorShape,
    TrainedPolicy,
)


def of_archive(
    path: Path, trusted: bool, statistics: Mapping[str, Statistics], keep_value: bool = False
) -> TrainedPolicy:
    """The policy of an archive.

    Args:
        statistics: of VecNormalize, by input; see `vec_normalize`.
        keep_value: the value head stays, as the output `value`.

    Raises:
        Refusal: an archive that cannot be read, or a space that is not known here.
    """
    archive = read_archive(path, trusted)
    policy = build_policy(path, archive)
    inputs = _inputs(path, archive.observation_space)
    unknown = [name for name in statistics if name not in [one.name for one in inputs]]
    if unknown:
        expected = f"statistics of {', '.join(one.name for one in inputs)}"
        raise refuse(str(path), "--normalizer", expected, ", ".join(unknown))
    module, states = _network(path, policy, archive, inputs, keep_value)
    name = type(policy).__name__
    bounds: dict[str, Any] = {}
    choices: dict[str, int] = {}
    space = archive.action_space
    if _is(space, "Discrete"):
        choices["actions"] = int(space.n)
    elif not policy.squash_output:
        bounds["actions"] = tuple(
            np.asarray(side, dtype=np.float64).reshape(-1) for side in (space.low, space.high)
        )
    return TrainedPolicy(
        kind=f"Stable-Baselines3 {name}",
        module=module,
        inputs=inputs,
        outputs=["actions", "value"] if keep_value else ["actions"],
        states=states,
        statistics=dict(statistics),
        bounds=bounds,
        choices=choices,
        facts={
            "source": path.name,
            "policy": name,
            "Stable-Baselines3": archive.version,
            "steps trained": str(archive.data.get("num_timesteps", "?")),
        },
        truth=lambda: PredictTruth(policy, inputs, dict(statistics), archive.observation_space),
    )


def build_policy(path: Path, archive: Archive) -> Any:
    """The trainer's own policy object with the archive's weights, in eval mode.

    Raises:
        Refusal: arguments or weights that its class does not take.
    """
    given = {k: v for k, v in (archive.policy_kwargs or {}).items() if k != "device"}
    parameters = inspect.signature(archive.policy_class.__init__).parameters
    if "use_sde" in parameters and "use_sde" in archive.data:
        given.setdefault("use_sde", archive.data["use_sde"])
    try:
        policy = archive.policy_class(
            archive.observation_space, archive.action_space, lambda _progress: 0.0, **given
        )
        policy.load_state_dict(archive.weights)
    except Exception as error:
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        expected = f"weights and arguments of {archive.policy_class.__name__}"
        raise refuse(str(path), "policy", expected, text) from error
    policy.set_training_mode(False)
    return policy


def vec_normalize(path: Path, found: Mapping[str, Any], name: str = "obs") -> dict[str, Statistics]:
    """The numbers of a VecNormalize, as `formats.sb3_statistics.read_pickle` gives them.

    Args:
        name: of the input, where observations are one vector.
    """
    eps, clip = float(found["epsilon"]), float(found["clip_obs"])
    keys = [key.removesuffix("mean").removesuffix(".") for key in found if key.endswith("mean")]
    result = {}
    for key in keys:
        prefix = f"{key}." if key else ""
        values = {one: found[f"{prefix}{one}"].reshape(-1) for one in ("mean", "var")}
        count = found.get(f"{prefix}count")
        result[key or name] = Statistics(
            "sb3", values, eps, clip, None if count is None else float(count)
        )
    return result


def _is(space: Any, name: str) -> bool:
    return any(one.__name__ == name for one in type(space).__mro__)


def _inputs(path: Path, space: Any) -> list[TensorShape]:
    parts = dict(space.spaces) if _is(space, "Dict") else {"obs": space}
    for name, one in parts.items():
        if not _is(one, "Box"):
            expected = "Box spaces, or a Dict of them"
            raise refuse(str(path), f"observation '{name}'", expected, type(one).__name__)
    return [
        TensorShape(name, (1, *one.shape), pixels=np.dtype(one.dtype) == np.uint8)
        for name, one in parts.items()
    ]


def _network(
    path: Path, policy: Any, archive: Archive, inputs: list[TensorShape], keep_value: bool
) -> tuple[Any, list[StateTensor]]:
    """The deterministic policy as a module, and its recurrent states."""
    import torch

    space = archive.action_space
    if not (_is(space, "Box") or _is(space, "Discrete")):
        expected = "a Box or a Discrete action space"
        raise refuse(str(path), "action_space", expected, type(space).__name__)
    names = [one.name for one in inputs]
    as_dict = _is(archive.observation_space, "Dict")
    act = _deterministic(path, policy, _is(space, "Discrete"))
    recurrent = getattr(policy, "lstm_actor", None)
    unscale = bool(getattr(policy, "squash_output", False)) and _is(space, "Box")
    if keep_value and not hasattr(policy, "predict_values"):
        expected = "a policy with a value head"
        raise refuse(str(path), "--keep-value", expected, type(policy).__name__)
    if keep_value and recurrent is not None:
        raise refuse(str(path), "--keep-value", "a policy without memory", "a recurrent one")

    class Deterministic(torch.nn.Module):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.policy = policy
            if unscale:
                low, high = torch.as_tensor(space.low), torch.as_tensor(space.high)
                self.register_buffer("lowest", low[None])
                self.register_buffer("half_range", 0.5 * (high - low)[None])

        def forward(self, *given: Any) -> Any:
            observed = dict(zip(names, given[: len(names)])) if as_dict else given[0]
            action, state = act(observed, given[len(names) :])
            if unscale:
                action = self.lowest + (action + 1.0) * self.half_range
            value = (self.policy.predict_values(observed),) if keep_value else ()
            return (action.flatten(1), *value, *state)

    states = []
    if recurrent is not None:
        shape = (recurrent.num_layers, 1, recurrent.hidden_size)
        states = [StateTensor(TensorShape(f"{n}_in", shape), f"{n}_out", 1) for n in ("h", "c")]
    return Deterministic().eval(), states


def _deterministic(path: Path, policy: Any, discrete: bool) -> Callable[[Any, Any], Any]:
    """(observation, states) -> (action or logits, next states) of this class of policy."""
    from stable_baselines3.common.policies import BasePolicy

    def chosen(distribution: Any) -> Any:
        if discrete:
            return distribution.distribution.logits
        return distribution.get_actions(deterministic=True)

    if hasattr(policy, "lstm_actor"):

        def remembering(observed: Any, state: Any) -> Any:
            features = BasePolicy.extract_features(policy, observed, policy.pi_features_extractor)
            latent, following = policy.lstm_actor(features.unsqueeze(0), tuple(state))
            latent = policy.mlp_extractor.forward_actor(latent.squeeze(0))
            out = policy.action_net(latent)
            return (out - out.logsumexp(-1, keepdim=True) if discrete else out), following

        return remembering
    if hasattr(policy, "get_distribution"):
        return lambda observed, _state: (chosen(policy.get_distribution(observed)), ())
    actor = getattr(policy, "actor", None)
    if actor is not None:
        if "deterministic" in inspect.signature(actor.forward).parameters:
            return lambda observed, _state: (actor(observed, deterministic=True), ())
        return lambda observed, _state: (actor(observed), ())
    if hasattr(policy, "q_net"):
        return lambda observed, _state: (policy.q_net(observed), ())
    expected = "a policy with an actor, a distribution or a q_net"
    raise refuse(str(path), "policy_class", expected, type(policy).__name__)


class PredictTruth:
    """`policy.predict(observation, deterministic=True)` with VecNormalize's own arithmetic."""

    def __init__(
        self, policy: Any, inputs: list[TensorShape], statistics: Mapping[str, Statistics],
        space: Any,
    ) -> None:  # fmt: skip
        self._policy = policy
        self._inputs = inputs
        self._space = space
        self._state: Any = None
        self._first = True
        self._normalize = _vec_normalizer(space, statistics) if statistics else None

    def start(self) -> None:
        """The next call begins an episode."""
        self._state, self._first = None, True

    def act(self, observation: Arrays) -> Arrays:
        """See `Truth.act`."""
        single = not _is(self._space, "Dict")
        parts = {"obs": self._space} if single else dict(self._space.spaces)
        given: Any = {}
        for one in self._inputs:
            space = parts[one.name]
            values = np.asarray(observation[one.name], dtype=np.float64).reshape(space.shape)
            normalized = self._normalize is not None
            given[one.name] = values if normalized else values.astype(space.dtype)
        given = given["obs"] if single else given
        if self._normalize is not None:
            given = self._normalize(given)
        action, self._state = self._policy.predict(
            given, state=self._state, episode_start=np.array([self._first]), deterministic=True
        )
        self._first = False
        return {"actions": np.asarray(action, dtype=np.float64).reshape(-1)}


def _vec_normalizer(space: Any, statistics: Mapping[str, Statistics]) -> Callable[[Any], Any]:
    """SB3's own `VecNormalize.normalize_obs` over these statistics."""
    import gymnasium
    from stable_baselines3.common.running_mean_std import RunningMeanStd
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    class Still(gymnasium.Env):  # type: ignore[misc,type-arg,unused-ignore]
        observation_space = space
        action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))

    first = next(iter(statistics.values()))
    as_dict = _is(space, "Dict")
    wrapped = VecNormalize(
        DummyVecEnv([Still]), training=False, norm_reward=False,
        clip_obs=10.0 if first.clip is None else first.clip,
        epsilon=1e-8 if first.eps is None else first.eps,
        norm_obs_keys=list(statistics) if as_dict else None,
    )  # fmt: skip
    for name, one in statistics.items():
        rms = RunningMeanStd(shape=(space[name] if as_dict else space).shape)
        rms.mean = one.values["mean"].reshape(rms.mean.shape)
        rms.var = one.values["var"].reshape(rms.mean.shape)
        if as_dict:
            wrapped.obs_rms[name] = rms
        else:
            wrapped.obs_rms = rms
    normalize: Callable[[Any], Any] = wrapped.normalize_obs
    return normalize
