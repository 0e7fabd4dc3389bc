"""Bad input: cases as data, and one small runner for each way of meeting them."""
