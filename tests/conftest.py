"""Settings shared by the whole suite."""

from hypothesis import HealthCheck, settings

# Derandomised: a property that holds today is checked on the same examples tomorrow, so that the
# false-alarm rate of the statistical ones is fixed once and for all.
settings.register_profile(
    "tradeoff",
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tradeoff")
