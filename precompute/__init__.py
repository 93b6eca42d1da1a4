"""Offline stages that turn a model and a pile of sound into the tables the explorer reads."""
