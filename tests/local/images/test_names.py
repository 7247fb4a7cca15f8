"""Image names: how they are spelled, and what they mean."""

import pytest

from ketch.local.images.names import KFP, MappingInvalid, Recipe, find_recipe, parse_reference, parse_rules

PYTHON = ("python3",)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        pytest.param("python", "python:latest", id="bare"),
        pytest.param("docker.io/library/python:3.11", "python:3.11", id="Docker Hub in full"),
        pytest.param("registry.example:5000/team/x", "registry.example:5000/team/x:latest", id="a registry's port"),
        pytest.param("a/b:1@sha256:00", "a/b:1", id="a digest"),
    ],
)
def test_references(image, expected):
    assert str(parse_reference(image)) == expected


@pytest.mark.parametrize(
    ("image", "python"),
    [
        pytest.param("python:3.11", "3.11", id="minor"),
        pytest.param("python:3.11.9-slim-bookworm", "3.11", id="patch and variant"),
        pytest.param("registry.access.example/base/python:3.12-alpine", "3.12", id="elsewhere"),
        pytest.param("python:3", "", id="any"),
        pytest.param("python", "", id="latest"),
    ],
)
def test_python_images_are_environments_of_that_version(image, python):
    recipe = find_recipe(image, ())
    assert recipe is not None
    assert (recipe.python, recipe.argv) == (python, PYTHON)
    assert KFP in recipe.alone


@pytest.mark.parametrize("image", ["busybox", "alpine:3.20", "docker.io/library/ubuntu:22.04", "debian", "bash"])
def test_plain_systems_are_this_machines_own(image):
    assert find_recipe(image, ()) == Recipe()


@pytest.mark.parametrize("image", ["nginx", "team/busybox", "python:2.7", "pythonic:3.11"])
def test_other_names_mean_nothing(image):
    assert find_recipe(image, ()) is None


def test_mappings_come_first():
    entries = [
        {"pattern": "python:*", "python": "3.10", "requirements": ["numpy"]},
        {"pattern": "tools", "system": True},
    ]
    rules = parse_rules(entries, "images.json")
    assert find_recipe("python:3.12", rules) == Recipe("3.10", ("numpy",), argv=PYTHON)
    assert find_recipe("tools:1", rules) == Recipe()


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        pytest.param({}, "must be a list", id="not a list"),
        pytest.param([{}], 'entry 0: needs a "pattern"', id="no pattern"),
        pytest.param([{"pattern": "a", "pyhton": "3"}], "unknown pyhton", id="a misspelled key"),
        pytest.param([{"pattern": "a", "requirements": [1]}], '"requirements" must be a list of texts', id="a number"),
    ],
)
def test_mistakes_in_the_mapping_are_named(entries, sentence):
    with pytest.raises(MappingInvalid, match=sentence):
        parse_rules(entries, "images.json")
