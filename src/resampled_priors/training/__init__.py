"""Training: objectives, schedule, the loop."""
