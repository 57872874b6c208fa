# SPDX-License-Identifier: MIT
"""Fixtures: three relays for the whole run, others where a test needs one.

A test takes a new key, which has a new account at the API, so tests share a
relay without meeting.  Every relay ends with a look into its logs for secrets
and into the sanitizer's reports.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

import daemon as daemon_module
import ledger
from relay import Relay


def pytest_collection_modifyitems(items):
    if os.getuid() == 0:
        return
    skip = pytest.mark.skip(reason="Postfix' master needs root")
    for item in items:
        item.add_marker(skip)


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "counts: thousands of messages while something breaks; "
        "TXMILTER_COUNT_SECONDS and TXMILTER_DOWN_SECONDS say for how long")
    config.count_rows = []


def pytest_terminal_summary(terminalreporter, config):
    """What the counting tests counted, for whoever asks for the figures."""
    if config.count_rows:
        terminalreporter.write_line(ledger.table(config.count_rows))


def pytest_report_header():
    return f"txmilter: {daemon_module.binary()}"


@pytest.fixture(scope="session")
def top_directory():
    """Not pytest's own: its directories are closed to Postfix' user."""
    path = Path(tempfile.mkdtemp(prefix="txmilter-e2e."))
    path.chmod(0o755)
    yield path
    if not os.environ.get("KEEP"):
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def relays(top_directory):
    """The factory; all that it made are stopped at the end."""
    made = []

    def make(substitute=(), keys=None, sections=None, **config):
        relay = Relay(top_directory / f"relay-{len(made)}", substitute,
                      **config)
        relay.daemon.config["keys"].update(keys or {})
        for name, options in (sections or {}).items():
            # What only the relay knows: its API's address.
            relay.daemon.config.setdefault(name, {}).update(
                (k, v(relay) if callable(v) else v)
                for k, v in options.items())
        made.append(relay)
        return relay.start()

    yield make
    problems = []
    for relay in made:
        try:
            relay.stop()
        except AssertionError as e:
            problems.append(str(e))
    assert not problems, "\n".join(problems)


@pytest.fixture(scope="session")
def _patient(relays):
    return relays()


@pytest.fixture(scope="session")
def _hasty(relays):
    return relays(direct_timeout="2s",
                  keys={"check_timeout": "2s", "ttl": "1s",
                        "negative_ttl": "1s"})


def _for_one_test(relay):
    assert relay.daemon.running(), relay.daemon.log()[-4000:]
    relay.api.forget()
    yield relay
    relay.api.heal()
    assert relay.daemon.running(), relay.daemon.log()[-4000:]


@pytest.fixture
def relay(_patient):
    """The relay with ordinary settings."""
    yield from _for_one_test(_patient)


@pytest.fixture
def hasty(_hasty):
    """One whose time limits and lifetimes are short."""
    yield from _for_one_test(_hasty)


@pytest.fixture
def own(relays):
    """A relay of the test's own, to stop, kill and restart."""
    yield from _for_one_test(relays())
