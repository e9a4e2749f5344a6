"""What was learned outlives a restart, and is taken by nobody whom it does not fit."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptive_spec import ConfigError, ConstantCosts, Controller, PolicySpecError, make_policy
from adaptive_spec.operations.checkpoints import Checkpoint, Saver, merge_checkpoints
from adaptive_spec.policy import Policy
from adaptive_spec.state import leaves
from tests.cli.running import refuse, succeed
from tests.operations.driving import admit

COSTS = ConstantCosts(draft=0.2)


def served(spec: str = "hazard", requests: int = 3, **options: Any) -> Controller:
    """A controller that has served some requests."""
    controller = Controller(make_policy(spec), **({"costs": COSTS} | options))
    serve(controller, requests)
    return controller


def serve(controller: Controller, requests: int) -> list[list[int]]:
    """tau of each cycle of requests, one after the other."""
    taus = []
    for number in range(requests):
        rows = admit(controller, str(number))
        for run in (3, 0, 5, 1, 8, 2):
            plan = controller.decide(rows)
            taus.append(plan.tau.tolist())
            kept = np.minimum(plan.tau, run)
            controller.observe(plan, plan.tau, kept, kept + 1)
        controller.release(rows)
    return taus


@pytest.mark.parametrize("spec", ["hazard", "marginal", "ewma"])
def test_a_restarted_controller_goes_on_as_if_it_had_not_been(spec: str, tmp_path: Path) -> None:
    before, path = served(spec, seed=7), tmp_path / "state.npz"
    Checkpoint.of(before).save(path)
    after = served(spec, requests=3, seed=8)  # so that its numbers of sequences are the same
    after.state = Controller(make_policy(spec), costs=COSTS, seed=8).state._replace(
        rows=after.state.rows
    )
    Checkpoint.load(path, after.policy).restore(after)
    assert serve(after, 3) == serve(before, 3)


class Before(Policy[Any, Any]):
    """Stands before another policy, as the safety of adapters does."""

    def __init__(self, policy: Policy[Any, Any]) -> None:
        self.policy = policy

    def init(self, num_sequences: int, seed: int) -> Any:
        return self.policy.init(num_sequences, seed)

    def decide(self, state: Any, cycle: Any) -> Any:
        return self.policy.decide(state, cycle)

    def update(self, state: Any, outcome: Any) -> Any:
        return self.policy.update(state, outcome)


def test_what_stands_before_a_policy_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    Checkpoint.of(served()).save(path)
    wrapped = Controller(Before(make_policy("hazard")), costs=COSTS)
    Checkpoint.load(path, wrapped.policy).restore(wrapped)
    assert Checkpoint.of(wrapped).header.policy == "hazard"


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"spec": "hazard:discount=0.9"}, r"policy = 'hazard', this controller has 'hazard:disc"),
        ({"drafters": ("lookup", "draft")}, "drafters = drafter, this controller has lookup/draft"),
        ({"costs": ConstantCosts(draft=0.9)}, "costs = 'draft=0.2,verify=0', this controller has"),
    ],
)
def test_it_fits_nobody_else(other: dict[str, Any], message: str, tmp_path: Path) -> None:
    Checkpoint.of(served()).save(tmp_path / "state.npz")
    controller = served(**other, requests=1)
    before = controller.state
    with pytest.raises(ConfigError, match=message):
        Checkpoint.load(tmp_path / "state.npz", controller.policy).restore(controller)
    assert controller.state is before


def test_drafters_are_named_first(tmp_path: Path) -> None:
    Checkpoint.of(served(drafters=("lookup",))).save(tmp_path / "state.npz")
    controller = served()
    saved = Checkpoint.load(tmp_path / "state.npz", controller.policy)
    with pytest.raises(ConfigError, match=r"drafters = lookup, .* once its engine has been made"):
        saved.restore(controller)
    controller.name_drafters(("lookup",))
    saved.restore(controller)


def test_another_release_s_is_refused() -> None:
    controller = served()
    old = Checkpoint.of(controller)
    old = Checkpoint(dataclasses.replace(old.header, version="0.0.1"), old.shared)
    with pytest.raises(ConfigError, match=r"version = '0.0.1', this controller has"):
        old.restore(controller)


def rewritten(path: Path, **arrays: Any) -> Path:
    """The file with other arrays; those that are None are left out."""
    with np.load(path) as file:
        kept = {name: file[name] for name in file.files} | arrays
    np.savez(path, **{name: array for name, array in kept.items() if array is not None})
    return path


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"__format__": None}, "not one saved by adaptive-spec"),
        ({"__header__": None}, "its header must hold policy, version"),
        ({"__header__": np.asarray("[" * 100_000)}, "its header must hold"),
        ({"__header__": np.asarray('{"policy": 3}')}, "its header must hold"),
        ({"tested": None}, "load it with the policy that saved it"),
        ({"tested": np.zeros((1, 3))}, r"tested has shape \(1, 3\)"),
        ({"tested": np.full((1, 10), "x")}, "tested holds <U1, it must hold numbers"),
        ({"tested": np.full((1, 10), np.nan)}, "tested has NaN"),
        ({"tested": np.array([{}], object)}, "cannot be read"),
    ],
)
def test_damaged_and_foreign_files_are_refused(
    arrays: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "state.npz"
    Checkpoint.of(served()).save(path)
    with pytest.raises(ConfigError, match=message):
        Checkpoint.load(rewritten(path, **arrays))


def test_what_is_no_archive_at_all_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    Checkpoint.of(served()).save(path)
    whole = path.read_bytes()
    np.save(tmp_path / "one.npy", np.zeros(3))
    for content in (whole[: len(whole) // 2], b"", (tmp_path / "one.npy").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match="cannot be read"):
            Checkpoint.load(path)


def test_replicas_are_merged() -> None:
    replicas = [Checkpoint.of(served(requests=count)) for count in (2, 4)]
    average = merge_checkpoints(replicas)
    added = merge_checkpoints(replicas, [1.0, 1.0])
    tested = [replica.shared.tested for replica in replicas]
    assert average.header.requests == added.header.requests == 6
    np.testing.assert_allclose(average.shared.tested, (tested[0] + tested[1]) / 2)
    np.testing.assert_allclose(added.shared.tested, tested[0] + tested[1])
    controller = Controller(make_policy("hazard"), costs=COSTS)
    added.restore(controller)
    assert len(serve(controller, 1)) == 6


def test_what_does_not_belong_together_is_not_merged() -> None:
    one, other = Checkpoint.of(served()), Checkpoint.of(served(costs=ConstantCosts(draft=0.9)))
    with pytest.raises(ConfigError, match=r"costs = .*another has"):
        merge_checkpoints([one, other])
    with pytest.raises(ConfigError, match="give at least one"):
        merge_checkpoints([])
    for weights in ([1.0], [1.0, 0.0], [1.0, float("nan")]):
        with pytest.raises(ConfigError, match="one above 0 for each of the 2"):
            merge_checkpoints([one, one], weights)


def test_it_is_saved_every_so_often(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    times = iter([0.0, 30.0, 61.0, 90.0, 130.0, 200.0])
    controller, path = served(requests=0), tmp_path / "state.npz"
    Saver(controller, path, every_s=60.0, clock=lambda: next(times))
    seen = []
    for _ in range(4):
        serve(controller, 1)
        seen.append(Checkpoint.load(path).header.requests if path.exists() else None)
    assert seen == [None, 2, 2, 4]
    path.unlink()
    path.mkdir()
    with caplog.at_level(logging.WARNING):
        serve(controller, 1)
    assert "cannot be written" in caplog.text


def test_the_commands_show_and_merge(tmp_path: Path) -> None:
    paths = [tmp_path / "a.npz", tmp_path / "b.npz"]
    for path, requests in zip(paths, (1, 2), strict=True):
        Checkpoint.of(served(requests=requests)).save(path)
    shown = succeed("state", "show", paths[0], "--json", "-").json()
    assert (shown["policy"], shown["requests"]) == ("hazard", 1)
    assert shown["arrays"]["tested"] == [1, 10]
    assert "hazard" in succeed("state", "show", paths[0]).out
    merged = tmp_path / "merged.npz"
    succeed("state", "merge", *paths, "--add", "-o", merged)
    first = dict(leaves(Checkpoint.load(paths[0]).shared))["tested"]
    assert (Checkpoint.load(merged).shared.tested >= first).all()
    weighted = ("--weight", 0.5, "--weight", 1)
    succeed("state", "merge", *paths, *weighted, "-o", merged)
    assert Checkpoint.load(merged).header.requests == 3
    assert "give one of them" in refuse("state", "merge", *paths, "--add", *weighted, "-o", merged)
    assert "one above 0 for each" in refuse("state", "merge", *paths, "--weight", 1, "-o", merged)
    assert "cannot be read" in refuse("state", "show", tmp_path / "none.npz")


def test_a_policy_that_is_not_installed_is_named(tmp_path: Path) -> None:
    one = Checkpoint.of(served())
    Checkpoint(dataclasses.replace(one.header, policy="theirs"), one.shared).save(
        tmp_path / "x.npz"
    )
    with pytest.raises(PolicySpecError, match="unknown policy 'theirs'"):
        Checkpoint.load(tmp_path / "x.npz")
