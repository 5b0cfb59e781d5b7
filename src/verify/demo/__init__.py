"""``depin-verify demo``: a whole network on one machine, honest sensors and cheats, reconciled."""

from verify.demo.play import DemoOptions, Outcome, run_demo

__all__ = ["DemoOptions", "Outcome", "run_demo"]
