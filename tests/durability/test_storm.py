"""A short storm; `make durability` runs the long one."""

import random

import pytest

from tests.durability.storm import Journal, run


@pytest.mark.timeout(180)  # takes about 20 s where nothing else runs
def test_what_was_acknowledged_survives_the_kill(tmp_path):
    seed = random.SystemRandom().randrange(1 << 32)
    print("seed", seed)
    print(run(tmp_path, 20, seed))


def test_the_check_sees_what_is_lost_and_what_is_not_whole():
    journal = Journal()
    for content in (b"one", b"two"):
        journal.sends("1.2", content)
        journal.acknowledges("1.2", content)
    journal.check({"1.2": {b"one", b"two"}})
    with pytest.raises(AssertionError, match="not there"):
        journal.check({"1.2": {b"two"}})
    with pytest.raises(AssertionError, match="nobody sent"):
        journal.check({"1.2": {b"one", b"two", b"on"}})
