"""What the platform makes: requests, datasets, features, models, evaluations, packages, endpoints and their reports."""
