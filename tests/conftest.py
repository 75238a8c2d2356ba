"""What every test may use."""

pytest_plugins = ["tests.databases"]

from hypothesis import settings

# the same examples on every machine, and none is judged by its time: nothing here depends on the clock
settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")
