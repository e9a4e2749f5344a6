"""Tests of adaptive-spec; folders mirror the package."""
