"""neuralforge: a code model of your own.  (The map of the rooms is written in ARCHITECTURE.md.)"""

__version__ = "0.1.0"
