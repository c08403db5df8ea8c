"""A run: its profile, what is made again and when, the pipeline over the notebooks, plotting, publishing, commands."""
