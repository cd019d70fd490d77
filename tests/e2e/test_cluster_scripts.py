"""What take.lua and put.lua make of a session in Redis, called by hand: whose it is, which row counts."""
import os

import pytest

KEY = b"isobar:session:by-hand"
HERE, THERE, ELSEWHERE = b"here/1", b"there/1", b"elsewhere/1"
ADDRESS, ANOTHER = b"000000000000007f", b"00000000000000ff"
DAY_MS = 86400000
SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "src", "cluster")


class Session:
    """The session, as the nodes call the scripts for it."""

    def __init__(self, redis):
        self.node = redis.master_of(KEY)
        self.shas = {}
        for name in ("take", "put", "touch"):
            with open(os.path.join(SOURCES, f"{name}.lua"), "rb") as f:
                self.shas[name] = self.node.command("script", "load", f.read())

    def take(self, run, number, what="take", lasts=1, address=ADDRESS, scoped=0, clean=0, ago=0):
        """(owner, who had it, row, who wrote that)"""
        told = self.node.command("evalsha", self.shas["take"], 1, KEY, run, number, what, ago, DAY_MS,
                                 lasts, address, scoped, clean)
        return (int(told[0]), *told[1:]) if told else ()

    def put(self, owner, run, row, what="put", ttl=0):
        return int(self.node.command("evalsha", self.shas["put"], 1, KEY, owner, run, row, ttl, what))

    def touch(self, run):
        return int(self.node.command("evalsha", self.shas["touch"], 1, KEY, run, DAY_MS))

    def expire_in(self, ms):
        self.node.command("pexpire", KEY, ms)

    def field(self, name):
        return self.node.command("hget", KEY, name)

    def ttl(self):
        return int(self.node.command("pttl", KEY))


@pytest.fixture
def had(empty):
    """A session that "here" has, with a row of the number 1."""
    made = Session(empty)
    assert made.take(HERE, 1)[:2] == (1, b"")
    assert 0 < made.ttl() <= DAY_MS         # no row yet
    assert made.put(1, HERE, b"old") == 1
    assert made.ttl() == -1
    return made


def test_who_takes_it_gets_the_row_once_however_often_it_is_sent(had):
    for _ in range(2):
        assert had.take(THERE, 5) == (2, HERE, b"old", HERE)
    assert had.put(1, HERE, b"late") == 0
    assert had.take(THERE, 6) == (3, THERE, b"old", HERE)


def test_the_row_of_before_a_clean_start_is_given_to_nobody(had):
    assert had.take(THERE, 5, clean=1)[0] == 2
    assert 0 < had.ttl() <= DAY_MS          # nothing is left of it if no row comes
    # "there" is killed before it has written the new session's row.
    assert had.take(ELSEWHERE, 9) == (3, THERE, b"", b"")
    assert had.put(1, HERE, b"late", "give") == 0
    assert had.take(HERE, 2) == (4, ELSEWHERE, b"", b"")
    assert had.put(4, HERE, b"new") == 1
    assert had.take(THERE, 6) == (5, HERE, b"new", HERE)


def test_what_the_node_before_a_clean_start_gives_does_not_count_either(had):
    assert had.take(THERE, 5, clean=1)[0] == 2
    assert had.put(1, HERE, b"last", "give") == 1
    assert had.take(ELSEWHERE, 9) == (3, THERE, b"", b"")


def test_what_the_node_of_a_clean_start_gives_counts(had):
    assert had.take(THERE, 5, clean=1)[0] == 2
    assert had.take(ELSEWHERE, 9) == (3, THERE, b"", b"")
    assert had.put(2, THERE, b"new", "give") == 1
    assert had.field("new") is None
    assert had.take(HERE, 2) == (4, ELSEWHERE, b"new", THERE)


def test_a_session_without_a_row_begins_anew_as_well(had):
    assert had.take(THERE, 5, clean=1, lasts=0)[0] == 2
    assert had.put(2, THERE, b"", "bare", DAY_MS) == 1
    assert (had.field("row"), had.field("new")) == (None, None)
    assert had.take(HERE, 2) == (3, THERE, b"", b"")


@pytest.mark.parametrize("ttl", [0, 7 * DAY_MS])
def test_a_take_that_is_undone_has_changed_nothing(had, ttl):
    assert had.put(1, HERE, b"old", ttl=ttl) == 1
    assert had.take(THERE, 5, clean=1, address=ANOTHER)[0] == 2
    had.take(ELSEWHERE, 5, "undo")          # not its own
    had.take(THERE, 4, "undo")              # of an earlier one
    assert had.field("run") == THERE
    had.take(THERE, 5, "undo")
    assert (had.field("run"), had.field("owner"), had.field("at"), had.field("new")) \
        == (HERE, b"1", ADDRESS, None)
    assert had.ttl() == -1 if ttl == 0 else had.ttl() > 6 * DAY_MS
    assert had.take(ELSEWHERE, 9) == (2, HERE, b"old", HERE)


def test_undoing_a_second_clean_start_leaves_the_first(had):
    assert had.take(THERE, 5, clean=1)[0] == 2
    assert had.take(ELSEWHERE, 9, clean=1)[0] == 3
    had.take(ELSEWHERE, 9, "undo")
    assert had.field("new") == b"2"
    assert had.take(HERE, 2) == (3, THERE, b"", b"")


def test_a_claim_says_whence_its_client_came_and_yields_to_a_later_connect(had):
    assert had.take(THERE, 5, "claim", address=ANOTHER, ago=60000) == (0, HERE, b"", b"")
    assert had.field("at") == ADDRESS
    assert had.take(THERE, 6, "claim", address=ANOTHER, clean=1) == (2, HERE, b"old", HERE)
    assert (had.field("at"), had.field("new")) == (ANOTHER, b"2")
    assert had.put(1, HERE, b"last", "give") == 0
    assert had.take(ELSEWHERE, 9, scoped=1) == (0, THERE, b"", b"")
    assert had.take(ELSEWHERE, 9, scoped=1, address=ANOTHER)[0] == 3


# --- how long it stays ------------------------------------------------------------------------

def test_a_row_stays_as_long_as_its_node_says_that_the_client_is_connected(had):
    assert had.put(1, HERE, b"row", ttl=5000000) == 1
    had.expire_in(60000)
    assert had.touch(THERE) == 0 and had.ttl() <= 60000     # not its session
    assert had.touch(HERE) == 1 and 4000000 < had.ttl() <= 5000000
    assert had.put(1, HERE, b"row", ttl=7000000) == 1
    had.expire_in(60000)
    assert had.touch(HERE) == 1 and 6000000 < had.ttl() <= 7000000
    assert had.put(1, HERE, b"row") == 1                    # it never expires
    assert had.touch(HERE) == 0 and had.ttl() == -1


def test_who_comes_back_in_the_last_moment_has_the_session(had):
    """Its node is gone, and it was about to be forgotten."""
    assert had.put(1, HERE, b"row", ttl=5000000) == 1
    had.expire_in(200)
    assert had.take(THERE, 5) == (2, HERE, b"row", HERE)
    assert 5000000 < had.ttl() <= 5000000 + DAY_MS
    assert had.put(2, THERE, b"row", ttl=3000000) == 1
    assert 2000000 < had.ttl() <= 3000000


def test_a_take_that_is_undone_leaves_it_to_its_end(had):
    assert had.put(1, HERE, b"row", ttl=5000000) == 1
    had.expire_in(60000)
    assert had.take(THERE, 5)[0] == 2
    had.take(THERE, 5, "undo")
    assert 0 < had.ttl() <= 60000
