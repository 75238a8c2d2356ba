"""What every test may use."""

from hypothesis import settings

pytest_plugins = ["tests.databases"]

# the same examples on every machine, and none is judged by its time: nothing here depends on the clock
settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")
