"""The workflow optimiser (FR-034 to FR-038): what is recommended for a request on its data, why, and what of it is carried out.

Models are in ``models``; the rule interface and ``optimise`` in ``rules``; the built-in rules in one module a group of phases;
what a person sets by hand in ``custom``; similar trainings and the estimate in ``estimate``.
"""
