"""What a run leaves, typed: a model for each file of ``results/<run>/``, filled by the notebook that measures."""
