"""Measure the package beside a stock Channels project and beside the floor of one process."""
