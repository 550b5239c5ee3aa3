"""What we ask of our own machine: a port that is listened at, a file that several processes write, who else runs."""
