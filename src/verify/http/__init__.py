"""The HTTP side of an aggregator: one file for each thing that is asked for, one for limits."""
