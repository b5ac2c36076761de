"""What holds for every test."""

from hypothesis import HealthCheck, settings

# How fast examples are made is a matter of the machine, which other tests use at the same time.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")
