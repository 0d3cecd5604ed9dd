"""What came out: records of runs, reports, features, studies over seeds."""
