"""What the project costs, measured on one machine in one run: ``python -m bench``."""
