"""Deployments -> pods that should exist, and the node each of them goes to.

The smallest honest part of a controller-manager and a scheduler: as many pods as `replicas`, the one on the fullest
node goes first, a new one lands where the fewest of its kind are. No rollout: a changed template counts for new pods.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from lb.cluster.objects import BadObject, ContainerPort, IntOrString, Metadata, Struct


class FieldRef(Struct, frozen=True):
    field_path: str


class EnvSource(Struct, frozen=True):
    field_ref: FieldRef | None = None


class Env(Struct, frozen=True):
    name: str
    value: str = ""
    value_from: EnvSource | None = None


class HttpGet(Struct, frozen=True):
    port: IntOrString
    path: str = "/"


class Probe(Struct, frozen=True):
    http_get: HttpGet | None = None


class SleepAction(Struct, frozen=True):
    seconds: int


class PreStop(Struct, frozen=True):
    sleep: SleepAction | None = None


class Lifecycle(Struct, frozen=True):
    pre_stop: PreStop | None = None


class ContainerTemplate(Struct, frozen=True):
    name: str
    image: str = ""
    args: tuple[str, ...] = ()
    env: tuple[Env, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    readiness_probe: Probe | None = None
    lifecycle: Lifecycle | None = None


class PodTemplateSpec(Struct, frozen=True):
    containers: tuple[ContainerTemplate, ...]
    termination_grace_period_seconds: int = 30


class TemplateMetadata(Struct, frozen=True):
    labels: dict[str, str] | None = None


class PodTemplate(Struct, frozen=True):
    spec: PodTemplateSpec
    metadata: TemplateMetadata = TemplateMetadata()


class LabelSelector(Struct, frozen=True):
    match_labels: dict[str, str] | None = None


class DeploymentSpec(Struct, frozen=True):
    template: PodTemplate
    replicas: int = 1
    selector: LabelSelector = LabelSelector()


class Deployment(Struct, frozen=True):
    """apps/v1 Deployment, as far as the demo runs it. `raw_template` is the pod template as it was written."""

    metadata: Metadata
    spec: DeploymentSpec
    raw_template: dict[str, Any]

    @property
    def namespace(self) -> str:
        return self.metadata.namespace or "default"


class PodName(NamedTuple):
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Placement(NamedTuple):
    """A pod that exists or should: which Deployment it belongs to, and its node."""

    pod: PodName
    deployment: str
    node: str


class Change(NamedTuple):
    """What must happen to have as many pods as the Deployments ask for."""

    start: tuple[Placement, ...]
    stop: tuple[Placement, ...]


def decode_deployment(document: Mapping[str, Any]) -> Deployment:
    """Raises BadObject when a field the demo needs is missing or has the wrong type."""
    try:
        found = msgspec.convert({**document, "rawTemplate": document["spec"]["template"]}, Deployment)
    except KeyError as error:
        raise BadObject(f"spec.{error.args[0]}", "is missing", "a Deployment has spec.template") from None
    except (msgspec.ValidationError, TypeError) as error:
        raise BadObject("", str(error), "see: kubectl explain deployment") from None
    if found.spec.replicas < 0:
        raise BadObject("spec.replicas", f"{found.spec.replicas} is less than none", "write 0 or more")
    return found


def plan(
    deployments: Sequence[Deployment],
    present: Sequence[Placement],
    nodes: Sequence[str],
    going: Collection[PodName] = (),
) -> Change:
    """Compare what runs (`present`, without those that are `going` already) with what is wanted.

    nodes: names of those that take new pods. Deployments are taken in the order given, so that a name like `web-2`
    lands on the same node in every run.
    """
    start: list[Placement] = []
    wanted = {(each.namespace, each.metadata.name): each for each in deployments}
    stop = [each for each in present if (each.pod.namespace, each.deployment) not in wanted]
    load = Counter(each.node for each in present)
    for (namespace, name), deployment in wanted.items():
        mine = [each for each in present if (each.pod.namespace, each.deployment) == (namespace, name)]
        surplus = len(mine) - deployment.spec.replicas
        stop += leaving(mine, surplus)
        taken = {each.pod.name for each in mine} | {each.name for each in going if each.namespace == namespace}
        for _ in range(-surplus if nodes else 0):
            pod = PodName(namespace, free_name(name, taken))
            placed = Placement(pod, name, choose_node(mine, load, nodes))
            taken.add(pod.name)
            load[placed.node] += 1
            mine.append(placed)
            start.append(placed)
    return Change(tuple(start), tuple(stop))


def choose_node(same_kind: Iterable[Placement], load: Mapping[str, int], nodes: Sequence[str]) -> str:
    """Where the fewest of its kind are, then where the fewest pods are, then the first."""
    kin = Counter(each.node for each in same_kind)
    return min(nodes, key=lambda node: (kin[node], load.get(node, 0), nodes.index(node)))


def leaving(pods: Sequence[Placement], count: int) -> list[Placement]:
    """The `count` pods that go when a Deployment shrinks: from the node that has most of them, youngest name first."""
    rest = sorted(pods, key=lambda each: number(each.pod.name))
    gone: list[Placement] = []
    for _ in range(max(0, count)):
        kin = Counter(each.node for each in rest)
        next_one = max(rest, key=lambda each: (kin[each.node], number(each.pod.name)))
        rest.remove(next_one)
        gone.append(next_one)
    return gone


def number(pod: str) -> int:
    return int(pod.rpartition("-")[2])


def free_name(deployment: str, taken: set[str]) -> str:
    """`web-1`, `web-2`, ... the lowest that is free: short names are for people who type them."""
    candidate = 1
    while f"{deployment}-{candidate}" in taken:
        candidate += 1
    return f"{deployment}-{candidate}"


REFERENCE = re.compile(r"\$\((\w+)\)")


def environment(container: ContainerTemplate, facts: Mapping[str, str]) -> dict[str, str]:
    """The container's variables. facts: field path (`metadata.name`, `spec.nodeName`, ...) -> value."""
    found = {}
    for env in container.env:
        ref = env.value_from.field_ref if env.value_from else None
        if ref is None:
            found[env.name] = env.value
        elif ref.field_path in facts:
            found[env.name] = facts[ref.field_path]
        else:
            raise BadObject(
                f"spec.containers[{container.name}].env[{env.name}].valueFrom.fieldRef.fieldPath",
                f"{ref.field_path!r} is not known to the demo",
                f"use one of: {', '.join(sorted(facts))}",
            )
    return found


def expand(args: Iterable[str], variables: Mapping[str, str]) -> list[str]:
    """`$(NAME)` becomes the variable's value, as the kubelet does it; an unknown one stays as it is."""
    return [REFERENCE.sub(lambda match: variables.get(match[1], match[0]), arg) for arg in args]


def port_number(container: ContainerTemplate, port: IntOrString) -> int:
    """A probe's port, by number or by the container's port name. Raises BadObject when there is no such name."""
    if isinstance(port, int):
        return port
    for each in container.ports:
        if each.name == port:
            return each.container_port
    raise BadObject(
        f"spec.containers[{container.name}].readinessProbe.httpGet.port",
        f"{port!r} is not the name of one of its ports",
        f"ports: {', '.join(each.name for each in container.ports) or 'none'}",
    )


def set_replicas(text: str, deployment: str, replicas: int) -> str:
    """The manifest `text` with another number of replicas for `deployment`; comments and the rest stay as they are.

    Raises LookupError when no Deployment of that name with a `replicas:` line is in it.
    """
    documents = re.split(r"(?m)^(---[^\n]*\n)", text)
    for index, document in enumerate(documents):
        if re.search(r"(?m)^kind: *Deployment\s*$", document) and re.search(
            rf"(?m)^  name: *{re.escape(deployment)}\s*$", document
        ):
            changed, count = re.subn(r"(?m)^(  replicas: *)\d+", rf"\g<1>{replicas}", document, count=1)
            if count:
                documents[index] = changed
                return "".join(documents)
    raise LookupError(deployment)
