"""What steering did to the activations: counts over positions, and the dead zone of TopK."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class SteeringReport:
    """What steering did at the prefill positions it acted on: sums, so that reports add up, divided once."""

    positions: int = 0
    """Prefill positions steered."""
    vanished: list[int] = field(default_factory=list)
    """Per clamped latent: positions at which its value did not survive TopK."""
    sinks: int = 0
    """Positions left alone as attention sinks."""
    norm_before: float = 0.0
    """Σ‖x‖ over the steered positions."""
    norm_after: float = 0.0
    """Σ‖x'‖ over the steered positions, x' what replaced x."""
    distance: float = 0.0
    """Σ‖x' − x‖ over the steered positions."""

    @property
    def dead_zone_by_latent(self) -> list[float]:
        """Share of steered positions, per latent, at which the clamp vanished in TopK; NaN when none was steered."""
        return [count / self.positions if self.positions else float("nan") for count in self.vanished]

    @property
    def dead_zone(self) -> float:
        """Share over all clamped latents and steered positions together; NaN when there are none."""
        asked = self.positions * len(self.vanished)
        return sum(self.vanished) / asked if asked else float("nan")

    @property
    def norm_ratio(self) -> float:
        """Σ‖x'‖ / Σ‖x‖; NaN when nothing was steered."""
        return self.norm_after / self.norm_before if self.norm_before else float("nan")

    @property
    def relative_change(self) -> float:
        """Σ‖x' − x‖ / Σ‖x‖; NaN when nothing was steered."""
        return self.distance / self.norm_before if self.norm_before else float("nan")

    def add(self, other: SteeringReport) -> None:
        """Count another batch in."""
        if self.vanished and other.vanished and len(self.vanished) != len(other.vanished):
            raise ValueError(f"Reports over {len(self.vanished)} and {len(other.vanished)} latents do not add up.")
        longest = max(len(self.vanished), len(other.vanished))
        mine, theirs = (one.vanished or [0] * longest for one in (self, other))
        self.vanished = [a + b for a, b in zip(mine, theirs, strict=True)]
        for name in ("positions", "sinks", "norm_before", "norm_after", "distance"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
