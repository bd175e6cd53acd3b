"""rl-toolkit: record, train, evaluate, export and run robot-learning policies."""

__version__ = "0.1.0"
