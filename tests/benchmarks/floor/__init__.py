"""The floor: what one Python process can do when it does nothing else."""
