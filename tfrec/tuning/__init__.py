"""Search for better settings: space, study, workers, results. Needs Optuna."""
