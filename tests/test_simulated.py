"""The simulation of large clusters, where the answer is known."""

import pytest

from benchmarks.simulated import Costs, simulate

FREE = Costs(frame=0.5, chunk=2.0, sent=0, flight=0, scan=0.25, assemble=0.125, moved=0, jitter=0)


def test_nodes_that_nothing_holds_up_take_their_share() -> None:
    found = simulate(FREE, frames=120, chunk=10, nodes=4)
    assert found.render == pytest.approx(3 * (2 + 10 * 0.5))  # 12 chunks, three on each node
    assert (found.scan, found.assemble) == (30, 15)
    assert found.nodes == pytest.approx(1)


def test_a_node_without_a_chunk_does_not_help() -> None:
    few, many = (simulate(FREE, frames=40, chunk=10, nodes=n) for n in (4, 400))
    assert few.render == many.render == pytest.approx(2 + 10 * 0.5)
    assert many.nodes == pytest.approx(0.01)


def test_a_command_that_is_slow_is_the_limit() -> None:
    costs = Costs(frame=0, chunk=0, sent=3, flight=0, scan=0, assemble=0, moved=0)
    found = simulate(costs, frames=200, chunk=1, nodes=50)
    assert found.render == pytest.approx(200 * 3)
    assert found.head == pytest.approx(1)
    assert found.limit == "head"


def test_storage_that_is_slow_is_the_limit() -> None:
    costs = Costs(
        frame=0.001, chunk=0, sent=0, flight=0, scan=0, assemble=0, storage=100, moved=50, jitter=0
    )
    found = simulate(costs, frames=2000, chunk=10, nodes=20)
    assert found.render == pytest.approx(10 * 0.001 + 2000 * 50 / 100)
    assert found.limit == "storage"


def test_the_last_chunk_may_be_shorter() -> None:
    assert simulate(FREE, frames=13, chunk=10, nodes=1).render == pytest.approx(2 * 2 + 13 * 0.5)
