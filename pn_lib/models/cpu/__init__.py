"""What makes the models fast on CPUs: kernels in Numba, and what calls them from PyTorch."""
