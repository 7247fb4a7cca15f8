"""Namespaces, Services, Secrets, ConfigMaps, claims and volumes."""

import base64
import binascii
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from ketch.kube.causes import forbidden, invalid, required, unsupported
from ketch.kube.errors import Cause, Forbidden, Invalid, StatusDetails
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.metadata import DNS_LABEL
from ketch.local.apiserver.strategies.base import Context, Obj, Strategy
from ketch.local.apiserver.strategies.limits import amounts, claim_troubles, joined

SERVICE_NETWORK = ipaddress.IPv4Network("10.96.0.0/16")
RESERVED_ADDRESSES = 256
"""The first addresses of the service network are for those that ask for one (kubernetes .1, DNS .10)."""
NODE_PORTS = range(30000, 32768)
PORT_RANGE = f"{NODE_PORTS.start}-{NODE_PORTS.stop - 1}"
ACCESS_MODES = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"]
NAMESPACE_FINALIZER = "kubernetes"
CLAIM_FIXED = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
)
NOT_GROWING = (
    "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"
)
IMMUTABLE_MESSAGE = "Forbidden: field is immutable when `immutable` is set"


class NamespaceStrategy(Strategy):
    """A namespace goes when its content is gone: ``spec.finalizers`` holds it until its controller lets go."""

    def prepare_create(self, obj: Obj, context: Context) -> None:
        """Active, and held."""
        obj["spec"] = {**(obj.get("spec") or NOTHING), "finalizers": [NAMESPACE_FINALIZER]}
        obj["status"] = {"phase": "Active"}

    def prepare_update(self, obj: Obj, old: Mapping[str, Any], context: Context) -> None:
        """Only /finalize changes the spec."""
        obj["spec"] = old.get("spec", NOTHING)

    def deletion_hooks(self, obj: Mapping[str, Any]) -> bool:
        """Whether the controller still holds it."""
        return bool((obj.get("spec") or NOTHING).get("finalizers"))

    def begin_deletion(self, obj: Obj) -> None:
        """Terminating."""
        obj["status"] = {**(obj.get("status") or NOTHING), "phase": "Terminating"}


class ServiceStrategy(Strategy):
    """A Service gets its address at birth and keeps it; no address is ever given twice."""

    def __init__(self) -> None:
        self._taken: dict[str, str] = {}
        self._ports: dict[int, str] = {}
        self._next = RESERVED_ADDRESSES
        self._loaded = False

    def _load(self, context: Context) -> None:
        if self._loaded:
            return
        self._loaded = True
        for service in context.listing("/services", None):
            self.created(service)

    def created(self, obj: Mapping[str, Any]) -> None:
        """Remember what the service holds."""
        uid, spec = obj["metadata"]["uid"], obj.get("spec") or NOTHING
        if spec.get("clusterIP") not in (None, "", "None"):
            self._taken[spec["clusterIP"]] = uid
        for port in spec.get("ports") or NO_ITEMS:
            if port.get("nodePort"):
                self._ports[port["nodePort"]] = uid

    def removed(self, obj: Mapping[str, Any]) -> None:
        """Give back what it held."""
        uid = obj["metadata"]["uid"]
        self._taken = {address: owner for address, owner in self._taken.items() if owner != uid}
        self._ports = {port: owner for port, owner in self._ports.items() if owner != uid}

    abandoned = removed

    def prepare_create(self, obj: Obj, context: Context) -> None:
        """Allocate addresses and node ports."""
        self._load(context)
        obj["status"] = {"loadBalancer": {}}
        self._complete(obj, {})

    def prepare_update(self, obj: Obj, old: Mapping[str, Any], context: Context) -> None:
        """Keep the address that an update leaves out."""
        self._load(context)
        spec, before = obj["spec"], old.get("spec") or NOTHING
        if spec.get("type") != "ExternalName" and not spec.get("clusterIP") and before.get("clusterIP"):
            for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                if name in before:
                    spec[name] = before[name]
        self._complete(obj, before)

    def _complete(self, obj: Obj, before: Mapping[str, Any]) -> None:
        spec, uid = obj["spec"], obj["metadata"]["uid"]
        if spec.get("type") == "ExternalName":
            return
        address = spec.get("clusterIP") or self._free_address()
        if address != "None" and address != before.get("clusterIP"):
            self._reserve(obj, address, uid)
        spec["clusterIP"] = address
        spec["clusterIPs"] = [address]
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
        self._complete_ports(obj, before)

    def _complete_ports(self, obj: Obj, before: Mapping[str, Any]) -> None:
        """Node ports: as asked for, else as before, else the first that is free; none where the type has none."""
        spec, uid = obj["spec"], obj["metadata"]["uid"]
        held = {(each.get("protocol"), each.get("port")): each.get("nodePort") for each in before.get("ports") or ()}
        for index, port in enumerate(spec.get("ports") or NO_ITEMS):
            known = held.get((port.get("protocol"), port.get("port")))
            if spec.get("type") not in ("NodePort", "LoadBalancer"):
                if known is not None and port.get("nodePort") == known:
                    del port["nodePort"]
                continue
            number = port.get("nodePort") or known
            if not number:
                number = next((each for each in NODE_PORTS if each not in self._ports), None)
                if number is None:
                    raise Invalid(f"every node port of {PORT_RANGE} is taken")
            if self._ports.get(number, uid) != uid or number not in NODE_PORTS:
                why = "provided port is already allocated"
                if number not in NODE_PORTS:
                    why = f"provided port is not in the valid range. The range of valid ports is {PORT_RANGE}"
                name, path = obj["metadata"].get("name", ""), f"spec.ports[{index}].nodePort"
                cause = invalid(path, number, why)
                raise Invalid(f'Service "{name}" is invalid: {path}: {cause.message}', StatusDetails(causes=(cause,)))
            port["nodePort"] = number
            self._ports[number] = uid

    def _reserve(self, obj: Obj, address: str, uid: str) -> None:
        name = obj["metadata"].get("name", "")
        try:
            inside = ipaddress.IPv4Address(address) in SERVICE_NETWORK
        except ValueError:
            inside = False
        if not inside:
            why = f'Invalid value: "{address}": the provided IP is not in the valid range {SERVICE_NETWORK}'
            raise Invalid(f'Service "{name}" is invalid: spec.clusterIPs: {why}')
        if self._taken.get(address, uid) != uid:
            why = f'Invalid value: ["{address}"]: failed to allocate IP {address}: provided IP is already allocated'
            raise Invalid(f'Service "{name}" is invalid: spec.clusterIPs: {why}')
        self._taken[address] = uid

    def _free_address(self) -> str:
        size = SERVICE_NETWORK.num_addresses
        for _ in range(size):
            address = str(SERVICE_NETWORK[self._next])
            self._next = self._next + 1 if self._next + 2 < size else RESERVED_ADDRESSES
            if address not in self._taken:
                return address
        raise Invalid(f"no address of {SERVICE_NETWORK} is free")

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """Ports, types, and the address that stays."""
        spec = obj["spec"]
        causes: list[Cause] = []
        kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]
        if spec.get("type") not in kinds:
            causes.append(unsupported("spec.type", spec.get("type"), kinds))
        ports = spec.get("ports") or NO_ITEMS
        if not ports and spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName":
            causes.append(required("spec.ports"))
        if spec.get("type") == "ExternalName" and not spec.get("externalName"):
            causes.append(required("spec.externalName"))
        if spec.get("type") in ("NodePort", "LoadBalancer") and spec.get("clusterIP") == "None":
            message = f"may not be set to 'None' for {spec['type']} services"
            causes.append(invalid("spec.clusterIPs[0]", "None", message))
        for index, port in enumerate(ports):
            path = f"spec.ports[{index}]"
            if len(ports) > 1 and not port.get("name"):
                causes.append(required(f"{path}.name"))
            if not isinstance(port.get("port"), int) or not 1 <= port["port"] <= 65535:
                causes.append(invalid(f"{path}.port", port.get("port"), "must be between 1 and 65535, inclusive"))
            if port.get("protocol") not in ("TCP", "UDP", "SCTP"):
                causes.append(unsupported(f"{path}.protocol", port.get("protocol"), ["SCTP", "TCP", "UDP"]))
        before = (old or {}).get("spec") or NOTHING
        if before.get("clusterIP") and spec.get("clusterIP") != before["clusterIP"]:
            causes.append(invalid("spec.clusterIPs[0]", spec.get("clusterIP"), "may not change once set"))
        return causes


class SecretStrategy(Strategy):
    """Secrets hold base64; ``stringData`` is written plainly and never read back."""

    def prepare_create(self, obj: Obj, context: Context) -> None:
        """Encode stringData."""
        if isinstance(texts := obj.pop("stringData", None), dict):
            encoded = {
                str(key): base64.b64encode(str(text).encode()).decode()  # pyright: ignore[reportUnknownArgumentType]
                for key, text in texts.items()  # pyright: ignore[reportUnknownVariableType]
            }
            obj["data"] = {**(obj.get("data") or NOTHING), **encoded}

    def prepare_update(self, obj: Obj, old: Mapping[str, Any], context: Context) -> None:
        """Encode stringData."""
        self.prepare_create(obj, context)

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """base64, type that stays, immutability."""
        causes: list[Cause] = []
        for key, text in (obj.get("data") or NOTHING).items():
            try:
                base64.b64decode(text or "", validate=True)
            except (binascii.Error, ValueError, TypeError):
                causes.append(invalid(f"data[{key}]", "<hidden>", "must be base64"))
        if old is not None:
            if obj.get("type") != old.get("type"):
                causes.append(invalid("type", obj.get("type"), "field is immutable"))
            causes += immutable_causes(obj, old)
        return causes


class ConfigMapStrategy(Strategy):
    """ConfigMaps may be closed for good."""

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """Keys of text and bytes differ; immutability."""
        both = set(obj.get("data") or NOTHING) & set(obj.get("binaryData") or NOTHING)
        causes = [invalid(f"data[{key}]", key, "duplicate of key present in binaryData") for key in sorted(both)]
        return causes + (immutable_causes(obj, old) if old is not None else [])


def immutable_causes(obj: Mapping[str, Any], old: Mapping[str, Any]) -> list[Cause]:
    """What an immutable Secret or ConfigMap forbids."""
    if not old.get("immutable"):
        return []
    changed = [name for name in ("immutable", "data", "binaryData") if obj.get(name) != old.get(name)]
    return [Cause("FieldValueForbidden", IMMUTABLE_MESSAGE, name) for name in changed]


class ClaimStrategy(Strategy):
    """PersistentVolumeClaims: what is asked for stays, but for growing."""

    def prepare_create(self, obj: Obj, context: Context) -> None:
        """Pending; the default storage class when none is named."""
        obj["status"] = {"phase": "Pending"}
        if "storageClassName" not in obj["spec"] and not obj["spec"].get("volumeName"):
            marks = ("storageclass.kubernetes.io/is-default-class", "true")
            classes = context.listing("storage.k8s.io/storageclasses", None)
            default = [
                item["metadata"]["name"]
                for item in classes
                if (item["metadata"].get("annotations") or NOTHING).get(marks[0]) == marks[1]
            ]
            if default:
                obj["spec"]["storageClassName"] = default[0]
        meta = obj["metadata"]
        if troubles := claim_troubles(obj["spec"], context.listing("/limitranges", meta["namespace"])):
            name = meta.get("name", "")
            raise Forbidden(f'persistentvolumeclaims "{name}" is forbidden: {joined(troubles)}')

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """Modes and size are there; nothing changes but size and the volume's name."""
        spec = obj["spec"]
        causes: list[Cause] = []
        if not spec.get("accessModes"):
            causes.append(required("spec.accessModes", "at least 1 access mode is required"))
        causes += access_mode_causes(spec)
        if "storage" not in ((spec.get("resources") or NOTHING).get("requests") or NOTHING):
            causes.append(required("spec.resources[storage]"))
        if old is not None:
            free = {"resources", "volumeName", "volumeAttributesClassName"}
            before = {name: item for name, item in old["spec"].items() if name not in free}
            after = {name: item for name, item in spec.items() if name not in free}
            if before != after:
                causes.append(forbidden("spec", CLAIM_FIXED))
            elif spec.get("resources") != old["spec"].get("resources"):
                causes += _size_causes(obj, old, context)
        return causes


def _size(spec: Mapping[str, Any]) -> Fraction:
    return amounts((spec.get("resources") or NOTHING).get("requests")).get("storage", Fraction(0))


def _size_causes(obj: Obj, old: Mapping[str, Any], context: Context) -> Iterable[Cause]:
    """What forbids another size: no volume yet, a class that makes none larger, less than there is. May raise
    Forbidden.
    """
    status = old.get("status") or NOTHING
    if status.get("phase") != "Bound":
        yield forbidden("spec", CLAIM_FIXED)
        return
    wanted, before = _size(obj["spec"]), _size(old["spec"])
    there = amounts(status.get("capacity")).get("storage", Fraction(0))
    if wanted < before and wanted < there:
        yield forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")
    elif wanted > before:
        storage = context.newest("storage.k8s.io/storageclasses", "", obj["spec"].get("storageClassName") or "")
        if not (storage or NOTHING).get("allowVolumeExpansion"):
            raise Forbidden(f'persistentvolumeclaims "{obj["metadata"]["name"]}" is forbidden: {NOT_GROWING}')


def access_mode_causes(spec: Mapping[str, Any]) -> Iterable[Cause]:
    """Modes that do not exist, or not together."""
    modes: Sequence[str] = spec.get("accessModes") or ()
    for index, mode in enumerate(modes):
        if mode not in ACCESS_MODES:
            yield unsupported(f"spec.accessModes[{index}]", mode, ACCESS_MODES)
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        yield forbidden("spec.accessModes", "may not use ReadWriteOncePod with other access modes")


class VolumeStrategy(Strategy):
    """PersistentVolumes: Pending at first; a size and ways to use it."""

    def prepare_create(self, obj: Obj, context: Context) -> None:
        """The first phase."""
        obj["status"] = {"phase": "Pending"}

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """Modes and size are there."""
        spec = obj.get("spec") or NOTHING
        causes = [*access_mode_causes(spec)]
        if not spec.get("accessModes"):
            causes.append(required("spec.accessModes"))
        if "storage" not in (spec.get("capacity") or NOTHING):
            causes.append(required("spec.capacity[storage]"))
        return causes


class ServiceAccountStrategy(Strategy):
    """ServiceAccounts need no more than a proper name."""

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """Names of image pull secrets."""
        return [
            invalid(f"imagePullSecrets[{index}].name", item.get("name"), "must be a name")
            for index, item in enumerate(obj.get("imagePullSecrets") or NO_ITEMS)
            if not DNS_LABEL.match(str(item.get("name", "")).replace(".", "-"))
        ]
