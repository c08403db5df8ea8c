"""What serves the lessons: checks of exercises, pages around the notebooks, the site, assignments, the playground."""
