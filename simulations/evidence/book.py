"""All cells so far, those of an earlier run among them, and which verdicts are missing."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from adaptive_spec.errors import ConfigError
from adaptive_spec.simulations.evidence.results import Cell, Evidence, Verdict

Where = tuple[str, str]
"""Names of a drafter and of its costs: a policy is judged there in all categories at once."""


class Book:
    """Verdicts by place, category and policy."""

    def __init__(
        self, blank: Evidence, earlier: Evidence | None, bases: Mapping[Where, str]
    ) -> None:
        """Begins with what an earlier run found.

        Args:
          blank: settings and facts of this run, with no cells.
          earlier: results to go on from.
          bases: digest of traces and costs for each place of this run.

        Raises:
          ConfigError: the earlier run had other settings, traces or costs.
        """
        self._blank = blank
        self._cells: dict[tuple[Where, str | None], Cell] = {}
        if earlier is None:
            return
        if earlier.settings != blank.settings:
            raise ConfigError(
                f"earlier results: have {earlier.settings}, this run {blank.settings}; begin a new "
                "file"
            )
        for cell in earlier.cells:
            if bases.get(cell.where, cell.basis) != cell.basis:
                raise ConfigError(
                    f"earlier results: those of the drafter {cell.drafter!r} at costs "
                    f"{cell.costs!r} are of another trace, or of other costs of that name; begin a "
                    "new file"
                )
        self.add_cells(earlier.cells)
        facts = {one.drafter: one for one in (*earlier.facts, *blank.facts)}
        self._blank = replace(blank, facts=tuple(facts.values()))

    @property
    def evidence(self) -> Evidence:
        """All there is."""
        return replace(self._blank, cells=tuple(self._cells.values()))

    def cells_at(self, where: Where) -> list[Cell]:
        """The cells of a place; none where it was not looked at yet."""
        return [cell for cell in self._cells.values() if cell.where == where]

    def missing(self, where: Where, policies: Iterable[str], again: Collection[str]) -> list[str]:
        """Of these policies, those without a verdict there, and those to be judged again."""
        known = [set(cell.policies) for cell in self.cells_at(where)]
        there = set.intersection(*known) if known else set()
        return [policy for policy in policies if policy in again or policy not in there]

    def add_cells(self, cells: Iterable[Cell]) -> None:
        """Takes cells in; those that are there already stay as they are."""
        for cell in cells:
            self._cells.setdefault((cell.where, cell.category), cell)

    def add_policy(self, where: Where, policy: str, verdicts: Mapping[str | None, Verdict]) -> None:
        """Takes in the verdicts on a policy, one for each category of a place."""
        for category, verdict in verdicts.items():
            cell = self._cells[where, category]
            known = {**cell.policies, policy: verdict}
            self._cells[where, category] = replace(cell, policies=known)
