"""The demo world: generated sounds and speech with exact ground truth, and the small models that hear it."""
