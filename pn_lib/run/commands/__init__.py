"""What the commands of the command line do; `pn_lib/cli` declares them, with their options and help."""
