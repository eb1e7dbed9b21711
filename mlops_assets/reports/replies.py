"""temporary"""
def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return lambda *a, **k: f"{name} {a} {k}"
