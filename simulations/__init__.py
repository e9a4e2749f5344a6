"""Traces in, answers out: replay of policies, the optimum, comparisons."""

if __name__ != "adaptive_spec.simulations":  # pragma: no cover
    # From the repository's root ``import simulations`` would also succeed, with every class twice.
    raise ImportError(f"{__name__} must be imported as adaptive_spec.simulations")
