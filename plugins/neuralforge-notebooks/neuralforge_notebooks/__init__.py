"""Jupyter notebooks as a source of training examples for neuralforge."""
