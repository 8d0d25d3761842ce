"""The joint race, the joint tournament, and the limit of both."""
