"""Tables, figures, and what else is made from runs."""
