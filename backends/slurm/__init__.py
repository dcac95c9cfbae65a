"""Slurm by its commands: partitions and jobs."""
