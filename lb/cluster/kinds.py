"""Is a document meant for us: one of our kinds, a slip of the pen for one, or somebody else's? Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches
from typing import Any

from lb.cluster.objects import KINDS

CLOSE = 0.75
"""Ratio of difflib above which a word is taken for a misspelling: `Ingres`, `Servce`, `EndpointSlices`."""

OTHER_KINDS = frozenset(
    """
    APIService Binding CSIDriver CSINode CSIStorageCapacity CertificateSigningRequest ClusterRole ClusterRoleBinding
    ClusterTrustBundle ComponentStatus ControllerRevision CronJob CustomResourceDefinition DaemonSet Deployment
    DeviceClass Endpoints Event Eviction FlowSchema HorizontalPodAutoscaler IPAddress Job Kustomization Lease
    LeaseCandidate LimitRange LocalSubjectAccessReview MutatingAdmissionPolicy MutatingAdmissionPolicyBinding
    MutatingWebhookConfiguration NetworkPolicy PersistentVolume PersistentVolumeClaim PodDisruptionBudget
    PodCertificateRequest PodTemplate PriorityClass PriorityLevelConfiguration ReplicaSet ReplicationController
    ResourceClaim ResourceClaimTemplate ResourceQuota ResourceSlice Role RoleBinding RuntimeClass Scale
    SelfSubjectAccessReview SelfSubjectReview ServiceAccount ServiceCIDR StatefulSet StorageClass
    StorageVersionMigration SubjectAccessReview TokenRequest TokenReview ValidatingAdmissionPolicy
    ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration VolumeAttachment VolumeAttributesClass
    """.split()  # noqa: SIM905  (a list of so many words reads worse)
)
"""Kinds of Kubernetes that we do not read (v1.36): some of them look like a misspelling of ours."""

_OUR_GROUPS = frozenset(cls.API_VERSION.rpartition("/")[0] for cls in KINDS.values()) | {"extensions"}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one field of one object, before anything is known of files or servers."""

    field: str
    reason: str
    advice: str = ""


def foreign(content: Mapping[str, Any]) -> bool:
    """True for what is none of our business: other kinds of Kubernetes, custom resources."""
    kind, version = content.get("kind"), content.get("apiVersion")
    if not isinstance(kind, str) or not isinstance(version, str):
        return isinstance(kind, str) and kind in OTHER_KINDS
    if kind in OTHER_KINDS:
        return True
    if kind in KINDS:
        # Somebody else's kind may bear the same name: Service of serving.knative.dev.
        return version != KINDS[kind].API_VERSION and not (_of_our_groups(version) or _of_kubernetes(version))
    return not (_of_our_groups(version) and _misspelt(kind))


def kind_fault(content: Mapping[str, Any]) -> Fault | None:
    """What is wrong with `kind` and `apiVersion` of a document that is not `foreign`; None if they are right."""
    kind, version = content.get("kind"), content.get("apiVersion")
    if kind is None:
        return Fault("kind", "is missing", "write for instance kind: Service, or move the file out of the folder")
    if not isinstance(kind, str):
        return Fault("kind", f"{kind!r} is not text", f"write one of: {', '.join(sorted(KINDS))}")
    if kind not in KINDS:
        meant = _misspelt(kind)
        advice = f"did you mean {meant}?" if meant else f"write one of: {', '.join(sorted(KINDS))}"
        return Fault("kind", f"{kind!r} is not a kind of Kubernetes", advice)
    wanted = KINDS[kind].API_VERSION
    if version is None:
        return Fault("apiVersion", "is missing", f"write apiVersion: {wanted}")
    if version != wanted:
        return Fault("apiVersion", f"{version!r} is not served for {kind}", f"write apiVersion: {wanted}")
    return None


def _misspelt(kind: str) -> str:
    for name in KINDS:
        if name.lower() == kind.lower():
            return name
    close = get_close_matches(kind, KINDS, n=1, cutoff=CLOSE)
    return close[0] if close else ""


def _of_our_groups(version: str) -> bool:
    group = version.rpartition("/")[0]
    return group in _OUR_GROUPS or any(
        SequenceMatcher(None, group, ours).ratio() > 0.85 for ours in _OUR_GROUPS if ours and group
    )


def _of_kubernetes(version: str) -> bool:
    """Kubernetes alone uses groups without a dot and those of k8s.io; a custom resource has a domain of its own."""
    group = version.rpartition("/")[0]
    return "." not in group or group.endswith(".k8s.io")
