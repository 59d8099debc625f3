"""The example files for clusters, by Ray's own schema and by what they must agree on."""

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ray = pytest.importorskip("ray")
yaml = pytest.importorskip("yaml")
jsonschema = pytest.importorskip("jsonschema")


def example(name: str) -> Any:
    return yaml.safe_load((ROOT / "examples" / name).read_text())


def pinned() -> str:
    """The version of Ray that is tested."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return next(line.partition("==")[2] for line in lines if line.startswith("ray=="))


def test_the_autoscaler_knows_every_key() -> None:
    schema = Path(ray.__file__).parent / "autoscaler" / "ray-schema.json"
    found = example("cluster.yaml")
    jsonschema.validate(found, json.loads(schema.read_text()))
    assert found["head_node_type"] in found["available_node_types"]
    assert found["docker"]["image"] == f"rayproject/ray:{pinned()}-py311"
    for here in found["file_mounts"].values():
        assert here.startswith("~") or (ROOT / "examples" / here).is_file()


def test_the_pods_of_kubernetes_share_versions_and_films() -> None:
    spec = example("kuberay.yaml")["spec"]
    assert spec["rayVersion"] == pinned()
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    pods = [group["template"]["spec"] for group in groups]
    assert len({str(pod["volumes"]) for pod in pods}) == 1
    containers = [container for pod in pods for container in pod["containers"]]
    assert len({container["image"] for container in containers}) == 1
    for pod, container in zip(pods, containers, strict=True):
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
