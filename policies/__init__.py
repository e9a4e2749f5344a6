"""Built-in policies, one file per rule."""

if __name__ != "adaptive_spec.policies":  # pragma: no cover
    # From the repository's root ``import policies`` would also succeed, with every class twice.
    raise ImportError(f"{__name__} must be imported as adaptive_spec.policies")
