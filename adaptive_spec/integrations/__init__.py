"""Policies in engines that others wrote; each in a subpackage that imports its engine."""
