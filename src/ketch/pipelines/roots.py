"""Where a run's artifacts go when neither the run nor its pipeline says so."""

from ketch.metadata.objects import StoreError
from ketch.pipelines.errors import FailedPrecondition
from ketch.pipelines.transfer.stores import Stores


def default_root(stores: Stores, namespace: str) -> str:
    """The namespace's own default, else the one for all. Raises FailedPrecondition where its configuration is wrong."""
    try:
        return stores.default_root(namespace)
    except StoreError as error:
        raise FailedPrecondition(str(error)) from error
