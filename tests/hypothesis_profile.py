"""Settings of all property tests; pytest loads this as a plugin."""

from hypothesis import settings

# A busy machine is no reason for a test to fail.
settings.register_profile("segmill", deadline=None)
settings.load_profile("segmill")
