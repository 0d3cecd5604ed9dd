"""Commands that look at what was trained: report, knn, tsne, study."""
