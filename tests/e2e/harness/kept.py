"""Fixtures that make things of one kind."""
import pytest


def kept(kind, end="end"):
    """A fixture, make(...): a thing of this kind, ended with the test by its method of this name."""
    @pytest.fixture
    def fixture(keeper):
        def make(*arguments, **settings):
            made = kind(*arguments, **settings)
            keeper.keep(getattr(made, end))
            return made
        return make
    return fixture
