import dcpt_compat  # noqa: F401 - mends basicsr before anything of it is imported
