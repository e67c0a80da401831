"""What runs beside a student's code, in its process: standard library only, and no answers."""
