"""What trainings have logged: curves, alarms, tables of experiments."""
