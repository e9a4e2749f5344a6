import dataclasses
import json
from typing import Any

import pytest

from adaptive_spec import ConfigError, ConstantCosts, make_policy
from adaptive_spec.errors import AdaptiveSpecError, CostsError
from adaptive_spec.simulations.evidence import (
    STYLISED,
    Evidence,
    Progress,
    Settings,
    gather,
)
from adaptive_spec.simulations.evidence import judge as judging
from tests.simulations.evidence.examples import (
    POINT,
    SETTINGS,
    easy_and_hard,
    lookup_and_model,
    varied,
)

POLICIES = ["fixed:tau=3", "bandit"]


def run(*policies: str, **options: Any) -> Evidence:
    chosen: dict[str, Any] = {"costs": POINT, "settings": SETTINGS} | options
    return gather([varied(16)], policies=policies or POLICIES, **chosen)


def through_json(evidence: Evidence) -> Evidence:
    return Evidence.from_dict(json.loads(json.dumps(evidence.as_dict(), allow_nan=False)))


def test_every_drafter_category_and_cost_point_is_a_cell() -> None:
    found = gather([lookup_and_model()], policies=["fixed:tau=1"], settings=SETTINGS)
    places = {(cell.drafter, cell.costs) for cell in found.cells}
    drafters = ["lookup+models/small", "lookup", "models/small"]
    assert places == {(drafter, costs) for drafter in drafters for costs in STYLISED}
    for drafter, costs in places:
        own = [c.category for c in found.cells if (c.drafter, c.costs) == (drafter, costs)]
        assert own[0] is None
        assert set(own[1:]) <= {"", "code", "résumé"}
        assert len(own) > 1
    assert [facts.drafter for facts in found.facts] == drafters
    assert found.facts[1].spec == "lookup:max_ngram=3,min_ngram=1"
    assert sum(found.facts[0].prompts.values()) == 16
    assert found.facts[0].tokens == lookup_and_model().num_tokens
    assert list(STYLISED) == [
        "draft=0.125,verify=0",
        "draft=0.03,verify=0.03",
        "draft=0.375,verify=0",
    ]


def test_all_figures_survive_json() -> None:
    found = run()
    assert through_json(found) == found


def test_earlier_verdicts_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run()
    kept: list[Evidence] = []
    assert run("fixed:tau=3", keep=kept.append).cells != whole.cells
    earlier = through_json(kept[-1])
    judged = watch(monkeypatch)
    assert run(earlier=earlier).cells == whole.cells
    assert judged == ["bandit"]
    # Nothing is left to do, and what was not asked for is not in the answer.
    judged.clear()
    assert run("bandit", earlier=whole).cells == tuple(c.of(["bandit"]) for c in whole.cells)
    assert judged == []
    run(earlier=whole, again=["bandit"])
    assert judged == ["bandit"]


def watch(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The policies that are run from now on."""
    seen: list[str] = []

    def noted(spec: str) -> Any:
        seen.append(spec)
        return make_policy(spec)

    monkeypatch.setattr(judging, "make_policy", noted)
    return seen


def test_what_is_kept_is_all_there_is() -> None:
    kept: list[Evidence] = []
    told: list[Progress] = []
    earlier = run("ewma", costs={"dear": ConstantCosts(0.5)})
    run(earlier=earlier, keep=kept.append, on_progress=told.append)
    assert [progress.done for progress in told] == [1, 2, 3]
    assert {progress.total for progress in told} == {3}
    assert told[-1].what == "bandit: drafter, c = .125"
    assert [set(evidence.cells[-1].policies) for evidence in kept] == [
        set(), {"fixed:tau=3"}, {"fixed:tau=3", "bandit"},
    ]  # fmt: skip
    assert kept[-1].cells[: len(earlier.cells)] == earlier.cells


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"settings": dataclasses.replace(SETTINGS, seed=1)}, r"have Settings.*seed=0.*seed=1"),
        ({"costs": {"c = .125": ConstantCosts(0.2)}}, "at costs 'c = .125' are of another trace"),
    ],
)
def test_results_of_something_else_are_not_kept(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        run(earlier=run("ewma"), **options)


def test_results_of_another_trace_are_not_kept() -> None:
    earlier = run("ewma")
    with pytest.raises(ConfigError, match=r"drafter 'drafter' at costs .* another trace"):
        gather([varied(12)], policies=["ewma"], costs=POINT, settings=SETTINGS, earlier=earlier)


@pytest.mark.parametrize(
    "data", [5, [], {}, {"format": "adaptive-spec.evidence", "version": 0}, None]
)
def test_what_is_no_evidence(data: Any) -> None:
    with pytest.raises(ConfigError, match="were not written by"):
        Evidence.from_dict(data)


def test_cells_that_lack_something() -> None:
    data = run("ewma").as_dict()
    del data["cells"][0]["marks"]["plain"]["over_plain"]
    with pytest.raises(ConfigError, match="were not written by"):
        Evidence.from_dict(data)


def test_several_processes_find_the_same() -> None:
    assert run(jobs=2) == run()


def test_wrong_settings() -> None:
    wrong: dict[str, dict[str, Any]] = {
        "at least one cost point": {"costs": {}},
        "jobs = 0": {"jobs": 0},
        r"again = \['ewma'\]": {"again": ["ewma"]},
        "no trace has a drafter 'x'": {"drafters": ["x"]},
    }
    for words, options in wrong.items():
        with pytest.raises(ConfigError, match=words):
            run(**options)
    for name in ("max_draft_tokens", "shuffles", "resamples"):
        with pytest.raises(ConfigError, match=f"{name} = 0"):
            Settings(**{name: 0})
    with pytest.raises(CostsError, match=r"draft\.lookup"):
        run(costs={"x": ConstantCosts(drafts=(("lookup", 0.1),))})


def test_a_policy_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any, **options: Any) -> Any:
        raise ConfigError("tau is not an integer")

    monkeypatch.setattr(judging, "replay", broken)
    with pytest.raises(AdaptiveSpecError, match=r"policy 'bandit' \(drafter, c = .125\): tau is"):
        run("bandit")


def test_costs_of_a_drafter_by_its_name() -> None:
    costs = {"cheap lookup": ConstantCosts(0.9, drafts=(("lookup", 0.0),))}
    found = gather([lookup_and_model()], costs=costs, policies=["fixed:tau=1"], settings=SETTINGS)
    lookup, model = (
        next(c for c in found.cells if c.drafter == name) for name in ("lookup", "models/small")
    )
    assert lookup.policies["fixed:tau=1"].over_plain.value > 1
    assert model.policies["fixed:tau=1"].over_plain.value < 1


def test_easy_and_hard_prompts() -> None:
    found = gather([easy_and_hard()], policies=["fixed:tau=3"], costs=POINT, settings=SETTINGS)
    over = [cell.policies["fixed:tau=3"].over_hindsight.value for cell in found.cells]
    assert over == pytest.approx([9.8125 / 9.9375, 1, 12 / 15.75])
