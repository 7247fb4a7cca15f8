"""One object for all who get the same JSON."""

from ketch.kube.sharing import Shared
from ketch.kube.types.core import ConfigMap, Secret


def config_map(name: str) -> dict[str, object]:
    return {"metadata": {"name": name}, "data": {"a": "b"}}


def test_the_same_json_is_decoded_once():
    shared, raw = Shared(), config_map("a")
    assert shared.decode(ConfigMap, raw) is shared.decode(ConfigMap, raw)


def test_equal_json_and_another_kind_are_others():
    shared, raw = Shared(), config_map("a")
    first = shared.decode(ConfigMap, raw)
    assert shared.decode(ConfigMap, config_map("a")) is not first
    assert isinstance(shared.decode(Secret, raw), Secret)


def test_what_came_long_ago_is_forgotten_and_never_mistaken():
    shared = Shared(most=2)
    for number in range(50):  # identities of what is gone are used again
        assert shared.decode(ConfigMap, config_map(str(number))).metadata.name == str(number)
