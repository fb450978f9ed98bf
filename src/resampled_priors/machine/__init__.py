"""What belongs to the processor or the GPU alone."""
