import pytest
from transformers import NoRepeatNGramLogitsProcessor

from adaptive_spec import ConfigError
from adaptive_spec.decoding.sampling import SamplingParameters
from adaptive_spec.decoding.verification import RULES, make_rule


def test_specs_name_what_differs_from_the_defaults() -> None:
    assert make_rule("greedy").spec == "greedy"
    sampling = SamplingParameters(temperature=0.7, top_k=40, top_p=0.9, min_p=0.05)
    rule = make_rule("coupled", sampling, 3)
    assert rule.spec == "coupled:temperature=0.7,top_k=40,top_p=0.9,min_p=0.05,seed=3"
    assert rule.label == rule.spec
    processors = (NoRepeatNGramLogitsProcessor(2),)
    named = make_rule("rejection", SamplingParameters(processors=processors)).spec
    assert named == "rejection:processors=NoRepeatNGramLogitsProcessor"


def test_what_each_rule_promises() -> None:
    promises = {name: (rule.lossless, rule.tau_invariant) for name, rule in RULES.items()}
    assert promises == {
        "greedy": (True, True),
        "rejection": (True, False),
        "coupled": (True, True),
        "typical": (False, False),
    }


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"verification rule 'coupld'.*did you mean 'coupled'"):
        make_rule("coupld")
