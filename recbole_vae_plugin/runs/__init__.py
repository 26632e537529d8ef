"""One training as a job: executed in a process of its own, with one set of result files."""
