"""Servers that stand in for services which tests and development cannot reach: stateful, spoken to over real HTTP."""
