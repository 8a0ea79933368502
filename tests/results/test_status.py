"""The words of statuses."""

import json

import pytest

from src.results.status import BAD, COMPLETE, ENDED, Status


@pytest.mark.parametrize("status", Status)
def test_a_status_is_shown_and_written_as_its_word(status: Status) -> None:
    word = status.value
    assert type(word) is str and status == word
    assert (f"{status}", repr(status), json.dumps(status)) == (word, repr(word), f'"{word}"')


def test_groups_hold_words_and_nothing_else_that_a_file_may_say() -> None:
    """Spelt out, because records of before hold them."""
    assert {*ENDED} == {"completed", "early_stopped", "diverged", "pruned"}
    assert {*COMPLETE} == {"completed", "early_stopped"}
    assert {*BAD} == {"diverged", "failed"}
    assert not any(value in ENDED for value in (None, "interrupted", "", 1, ["pruned"], {}))
