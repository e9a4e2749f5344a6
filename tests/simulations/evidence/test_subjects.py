import dataclasses

import pytest

from adaptive_spec import ConfigError
from adaptive_spec.errors import TraceError
from adaptive_spec.simulations.evidence.subjects import Subject, subjects_of
from adaptive_spec.simulations.halves import halves
from tests.simulations.evidence.examples import easy_and_hard, sequence, trace_of, varied
from tests.traces.examples import same_trace
from tests.traces.test_compositions import composed


def test_a_composition_counts_for_each_of_its_drafters_too() -> None:
    whole = composed()
    found = subjects_of([whole])
    assert [s.drafter for s in found] == ["lookup+models/small", "lookup", "models/small"]
    for subject, trace in zip(
        found, (whole, whole.only("lookup"), whole.only("models/small")), strict=True
    ):
        for half, expected in zip((subject.choose, subject.judge), halves(trace), strict=True):
            assert same_trace(half, expected)


def test_only_some_drafters() -> None:
    assert [s.drafter for s in subjects_of([composed()], ["lookup"])] == ["lookup"]
    with pytest.raises(ConfigError, match=r"drafter 'other'; there are \['lookup\+models/small'"):
        subjects_of([composed()], ["other"])


def test_a_drafter_of_two_traces_counts_once() -> None:
    whole = composed()
    assert len(subjects_of([whole, whole.only("lookup")])) == 3
    with pytest.raises(ConfigError, match=r"two traces have the drafter 'drafter'.*different"):
        subjects_of([varied(8), varied(10)])


def test_names_tell_drafters_apart() -> None:
    three, seven = varied(drafter="lookup:max_ngram=3"), varied(drafter="lookup:max_ngram=7")
    names = [s.drafter for s in subjects_of([three, seven, varied(drafter="builtin")])]
    assert names == ["lookup:max_ngram=3", "lookup:max_ngram=7", "builtin"]
    other = dataclasses.replace(three, info=dataclasses.replace(three.info, verifier="other"))
    names = [s.drafter for s in subjects_of([three, other])]
    assert names == ["lookup:max_ngram=3 of verifier", "lookup:max_ngram=3 of other"]


def test_prompts_are_judged_together_and_by_category() -> None:
    [subject] = subjects_of([easy_and_hard()])
    assert subject.prompts == {"easy": 4, "hard": 4}
    groups = {name: (c.tolist(), j.tolist()) for name, (c, j) in subject.groups.items()}
    assert groups == {
        None: ([0, 1, 2, 3], [0, 1, 2, 3]),
        "easy": ([0, 1], [0, 1]),
        "hard": ([2, 3], [2, 3]),
    }


def test_small_categories_are_part_of_the_mixture_only() -> None:
    few = [sequence(f"few/{i}", "few", 0.5) for i in range(3)]
    [subject] = subjects_of([trace_of([*easy_and_hard(), *few])])
    assert list(subject.groups) == [None, "easy", "hard"]
    alone = trace_of(s for s in easy_and_hard() if s.category == "easy")  # type: ignore[arg-type]
    [subject] = subjects_of([alone])
    assert list(subject.groups) == [None]  # the mixture is the category


def test_the_fingerprint_is_of_all_that_matters() -> None:
    def fingerprint(choose_from: object) -> str:
        [subject] = subjects_of([choose_from])  # type: ignore[list-item]
        return subject.fingerprint

    traces = varied()
    first = traces.sequences[0]
    assert fingerprint(traces) == fingerprint(varied())
    changed = [
        dataclasses.replace(first, category="c"),
        dataclasses.replace(first, prompt_tokens=5),
        dataclasses.replace(first, limit_tokens=None),
        dataclasses.replace(first, draftable_tokens=3),
        dataclasses.replace(first, run_lengths=varied(seed=9).sequences[0].run_lengths),
    ]
    found = {fingerprint(trace_of([one, *traces.sequences[1:]])) for one in changed}
    assert len({fingerprint(traces), *found}) == 6
    whole = subjects_of([composed()])[1]
    quiet = tuple(dataclasses.replace(s, signals={}) for s in whole.judge)
    silent = Subject("lookup", whole.choose, dataclasses.replace(whole.judge, sequences=quiet))
    assert silent.fingerprint != whole.fingerprint


def test_nothing_to_judge() -> None:
    with pytest.raises(ConfigError, match="at least one trace"):
        subjects_of([])
    with pytest.raises(TraceError, match="two halves need at least 2"):
        subjects_of([trace_of([sequence("a", "", 0.5)])])
