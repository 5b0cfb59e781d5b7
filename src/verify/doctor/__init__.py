"""What is wrong with a set-up: look-ups that change nothing, each with what to do about it."""

from verify.doctor.diagnosis import Diagnosis, Setup
from verify.doctor.run import CHECKS, doctor

__all__ = ["CHECKS", "Diagnosis", "Setup", "doctor"]
