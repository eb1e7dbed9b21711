"""Data only: the sentence catalogues ``ja.toml`` and ``en.toml``, read by ``mlops_assets.reports.language``."""
