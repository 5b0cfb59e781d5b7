"""What is wrong with a set-up: look-ups that change nothing, each with what to do about it."""

from verify.doctor.finding import Finding, Setup
from verify.doctor.run import CHECKS, doctor

__all__ = ["CHECKS", "Finding", "Setup", "doctor"]
