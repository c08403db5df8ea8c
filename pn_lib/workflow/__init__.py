"""Profiles, runs, the pipeline over the notebooks, plotting, publishing and the command line."""
