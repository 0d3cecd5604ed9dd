"""Analysis of results: records of runs, reports, studies of features, comparisons over seeds."""
