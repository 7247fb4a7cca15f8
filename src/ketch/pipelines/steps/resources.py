"""What a container may use, from the specification's words to Kubernetes' quantities. Pure."""

from ketch.kube.quantities import QuantityError, parse_quantity
from ketch.kube.types.containers import ResourceRequirements
from ketch.pipelines.ir.spec import Resources
from ketch.pipelines.steps.placeholders import Scope, expand_text


def requirements(declared: Resources, scope: Scope) -> ResourceRequirements:
    """Limits and requests with their placeholders resolved; what is empty then is not set.

    Raises QuantityError and PlaceholderError.
    """
    limits = {
        "cpu": _quantity(declared.resource_cpu_limit, declared.cpu_limit, "", scope),
        "memory": _quantity(declared.resource_memory_limit, declared.memory_limit, "G", scope),
    }
    requests = {
        "cpu": _quantity(declared.resource_cpu_request, declared.cpu_request, "", scope),
        "memory": _quantity(declared.resource_memory_request, declared.memory_request, "G", scope),
    }
    accelerator = declared.accelerator
    kind = expand_text(accelerator.resource_type or accelerator.type, scope).strip()
    count = expand_text(accelerator.resource_count or str(accelerator.count), scope).strip()
    if kind and count not in ("", "0"):
        limits[kind] = count
    for quantity in (*limits.values(), *requests.values()):
        _check_quantity(quantity)
    return ResourceRequirements(
        limits={name: value for name, value in limits.items() if value},
        requests={name: value for name, value in requests.items() if value},
    )


def _quantity(text: str, number: float, suffix: str, scope: Scope) -> str:
    """The current form if there is one, else the older number."""
    expanded = expand_text(text, scope).strip()
    return expanded if expanded or not number else f"{number:g}{suffix}"


def _check_quantity(text: str) -> None:
    try:
        if text:
            parse_quantity(text)
    except QuantityError as error:
        raise QuantityError(f"resource quantity {text!r}: {error}") from error
