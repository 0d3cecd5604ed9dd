"""Ways of training compared over seeds: jobs, results, page."""
