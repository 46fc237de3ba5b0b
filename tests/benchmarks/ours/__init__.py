"""The measured project: the smallest Django project that uses the package as its README says."""
