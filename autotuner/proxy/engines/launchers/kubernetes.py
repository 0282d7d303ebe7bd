"""Runs the server as a Kubernetes Deployment with one replica; its flags are in the pod template.

A place is a Deployment: one for restarts in place, two for blue/green. Stopping is scaling to zero
and waiting until the pod is gone, since its devices are free only then. How the last container
ended is read from the pod; `terminationMessagePolicy: FallbackToLogsOnError` is set in the
template, so that the end of its log stands there too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2
from lightkube import ApiError, AsyncClient, KubeConfig
from lightkube.config.models import Cluster, User
from lightkube.core.exceptions import ConfigError as KubeConfigError
from lightkube.core.exceptions import LoadResourceError
from lightkube.models.core_v1 import Container, ContainerStatus
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Pod
from lightkube.types import PatchType

from autotuner.proxy.engines.flags import Flag, without
from autotuner.proxy.engines.launchers.command import port_of
from autotuner.proxy.engines.launchers.envfile import one_variable, words_in
from autotuner.proxy.engines.launchers.port import Exit, LaunchError, Place, State

T = TypeVar("T")

_POLL_S = 0.5  # chosen
_CALL_S = 20.0  # chosen: for one answer of the API server
_LOG_LINES = 400


@dataclass(frozen=True)
class KubernetesOptions:
    """`deployments` are (name, URL of its Service). `variable` "" puts the flags into `args`."""

    deployments: tuple[tuple[str, str], ...]
    namespace: str = "default"
    container: str = ""
    variable: str = ""
    api_url: str = ""
    stop_s: float = 120.0


class KubernetesLauncher:
    """A Launcher. `flags` tell which of the container's words are settings, to be replaced."""

    def __init__(self, options: KubernetesOptions, flags: Mapping[str, Flag]) -> None:
        self._options, self._flags = options, flags
        self._kept: AsyncClient | None = None

    def places(self) -> Sequence[Place]:
        return [
            Place(name, url.rstrip("/"), port_of(url)) for name, url in self._options.deployments
        ]

    def elsewhere(self, place: Place) -> Place | None:
        del place
        return None  # a pod has its ports for itself

    async def start(self, place: Place, words: Sequence[str]) -> None:
        deployment = await self._deployment(place)
        container = self._container(deployment, place)
        change: dict[str, Any] = {
            "name": container.name,
            "terminationMessagePolicy": "FallbackToLogsOnError",
        }
        if self._options.variable:
            change["env"] = [{"name": self._options.variable, "value": one_variable(words)}]
        else:
            change["args"] = [*without(container.args or [], self._flags), *words]
        template = {"spec": {"containers": [change]}}
        await self._patch(place, {"replicas": 1, "template": template})

    async def stop(self, place: Place) -> None:
        await self._patch(place, {"replicas": 0})
        try:
            async with asyncio.timeout(self._options.stop_s):
                while await self._pods(place):
                    await asyncio.sleep(_POLL_S)
        except TimeoutError as problem:
            raise LaunchError(
                f"deployment {place.name}: its pod was not gone after {self._options.stop_s:.0f} s"
            ) from problem

    async def state(self, place: Place) -> State:
        pod = await self._pod(place)
        if pod is None:  # one may be on the way
            spec = (await self._deployment(place)).spec
            return State(running=bool(spec.replicas))
        status = self._status(pod)
        if status is None or status.state is None:
            return State(True, _identity(pod, status))  # not scheduled, or its image is on the way
        ended = status.state.terminated or (status.lastState and status.lastState.terminated)
        waits = status.state.waiting is not None and bool(ended)
        return State(
            running=status.state.terminated is None and not waits,
            identity=_identity(pod, status),
            exit=_exit(ended) if ended else None,
        )

    async def recall(self, place: Place, identity: str) -> bool:
        state = await self.state(place)
        return state.running and state.identity == identity

    async def log(self, place: Place, identity: str | None) -> Sequence[str]:
        """The running container's log; of one that ended, what Kubernetes kept of it."""
        pod = await self._pod(place)
        status = self._status(pod) if pod else None
        if pod is None or pod.metadata is None or status is None:
            return ()
        now = status.state.terminated if status.state else None
        ended = now or (status.lastState.terminated if status.lastState else None)
        kept = (ended.message or "").splitlines() if ended else []
        if now is None and (identity is None or identity == _identity(pod, status)):
            return kept or await self._tail(str(pod.metadata.name))
        return kept

    async def command_line(self, place: Place) -> Sequence[str]:
        container = self._container(await self._deployment(place), place)
        said = [e.value or "" for e in container.env or [] if e.name == self._options.variable]
        return [*(container.command or []), *(container.args or []), *words_in(" ".join(said))]

    async def close(self) -> None:
        """The Deployment is the cluster's: it stays."""
        if self._kept is not None:
            await self._kept.close()
            self._kept = None

    def _client(self) -> AsyncClient:
        if self._kept is None:
            options = self._options
            try:
                known = _plain(options.api_url) if options.api_url else None
                self._kept = AsyncClient(config=known, namespace=options.namespace)
            except KubeConfigError as problem:
                raise LaunchError(f"no way to the Kubernetes API: {problem}") from problem
        return self._kept

    async def _deployment(self, place: Place) -> Deployment:
        return await self._asked(
            self._client().get(Deployment, place.name, namespace=self._options.namespace), place
        )

    async def _patch(self, place: Place, spec: dict[str, Any]) -> None:
        await self._asked(
            self._client().patch(
                Deployment,
                place.name,
                {"spec": spec},
                namespace=self._options.namespace,
                patch_type=PatchType.STRATEGIC,
            ),
            place,
        )

    async def _pods(self, place: Place) -> list[Pod]:
        deployment = await self._deployment(place)
        selector = deployment.spec.selector.matchLabels
        if not selector:
            raise LaunchError(f"deployment {place.name}: give its selector matchLabels")

        async def listed() -> list[Pod]:
            found = self._client().list(
                Pod, namespace=self._options.namespace, labels=dict(selector)
            )
            return [pod async for pod in found]

        return await self._asked(listed(), place)

    async def _pod(self, place: Place) -> Pod | None:
        """The youngest one that is not being ended."""
        pods = [
            pod
            for pod in await self._pods(place)
            if pod.metadata is not None and pod.metadata.deletionTimestamp is None
        ]
        return max(pods, key=_age, default=None)

    async def _tail(self, pod: str) -> list[str]:
        client, options = self._client(), self._options

        async def read() -> list[str]:
            lines = client.log(
                pod,
                namespace=options.namespace,
                container=options.container or None,
                tail_lines=_LOG_LINES,
                newlines=False,
            )
            return [line async for line in lines]

        try:
            async with asyncio.timeout(_CALL_S):
                return await read()
        except (ApiError, httpx2.TransportError, TimeoutError):
            return []  # the fault is then told by the exit alone

    async def _asked(self, call: Awaitable[T], place: Place) -> T:
        try:
            async with asyncio.timeout(_CALL_S):
                return await call
        except TimeoutError as problem:
            raise LaunchError(f"deployment {place.name}: the API did not answer") from problem
        except ApiError as problem:
            said = problem.status.message or problem.response.status_code
            raise LaunchError(f"deployment {place.name}: {said}") from problem
        except (httpx2.TransportError, LoadResourceError) as problem:
            raise LaunchError(f"deployment {place.name}: {problem}") from problem

    def _container(self, deployment: Deployment, place: Place) -> Container:
        spec = deployment.spec.template.spec
        containers = spec.containers if spec else []
        wanted = self._options.container
        for one in containers:
            if one.name == wanted or (not wanted and len(containers) == 1):
                return one
        names = ", ".join(one.name for one in containers)
        raise LaunchError(
            f"deployment {place.name}: container={wanted!r} is not there; give one of {names}"
        )

    def _status(self, pod: Pod) -> ContainerStatus | None:
        statuses = (pod.status.containerStatuses if pod.status else None) or []
        for one in statuses:
            if one.name == self._options.container or len(statuses) == 1:
                return one
        return None


def _plain(url: str) -> KubeConfig:
    """An API that asks for no account, such as `kubectl proxy`."""
    return KubeConfig.from_one(cluster=Cluster(server=url), user=User())


def _age(pod: Pod) -> Any:
    return str(pod.metadata.creationTimestamp) if pod.metadata else ""


def _identity(pod: Pod, status: ContainerStatus | None) -> str:
    uid = pod.metadata.uid if pod.metadata else ""
    return f"{uid}:{status.restartCount if status else 0}"


def _exit(ended: Any) -> Exit:
    killed = ended.reason == "OOMKilled"
    return Exit(
        status=ended.exitCode,
        out_of_memory=killed,
        said=f"Kubernetes says {ended.reason}" if ended.reason else "",
    )
