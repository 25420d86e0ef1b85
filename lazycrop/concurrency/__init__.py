"""What threads and processes share: bounded calls, deadlines, single flights, timings, forks."""
