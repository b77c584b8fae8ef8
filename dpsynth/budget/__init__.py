"""What a run may spend, and what it spent: calibration, the plan that is kept, the certificate."""
