from autotuner.worker.agreement import Agreement, InForce
from autotuner.worker.messages import ApplySettings, SettingsApplied
from autotuner.worker.settings import WorkerSettings

FIRST = InForce(WorkerSettings(), 1, 5.0)


def of_two() -> Agreement:
    agreement = Agreement(FIRST)
    for replica in (0, 1):
        agreement.starts(replica)
        agreement.joined(replica)
    return agreement


def word(generation: int, at: float = 9.0) -> SettingsApplied:
    return SettingsApplied(WorkerSettings(max_num_seqs=generation), generation, at)


def wish(generation: int) -> ApplySettings:
    return ApplySettings(WorkerSettings(max_num_seqs=generation), generation)


def test_settings_are_in_force_when_all_have_confirmed() -> None:
    agreement = of_two()
    agreement.want(wish(2))
    assert not agreement.confirmed(0, word(2, at=8.0))
    assert agreement.in_force == FIRST
    assert agreement.confirmed(1, word(2, at=7.0))
    assert agreement.in_force == InForce(WorkerSettings(max_num_seqs=2), 2, 8.0)


def test_a_late_word_counts_and_then_the_newer_one() -> None:
    agreement = of_two()
    agreement.confirmed(0, word(2))
    agreement.confirmed(0, word(3))
    assert not agreement.confirmed(1, word(2))  # they differ: nothing is in force yet
    assert agreement.confirmed(1, word(3))
    assert agreement.in_force.generation == 3


def test_one_that_leaves_has_no_say() -> None:
    agreement = of_two()
    agreement.want(wish(2))
    agreement.confirmed(0, word(2))
    assert agreement.left(1)
    assert (agreement.in_force.generation, agreement.wanted) == (2, wish(2))


def test_with_the_last_one_the_wish_goes() -> None:
    agreement = of_two()
    agreement.want(wish(2))
    agreement.left(0)
    agreement.left(1)
    assert agreement.in_force == FIRST
    assert agreement.wanted == ApplySettings(FIRST.settings, 1)
    assert agreement.starts(0) == FIRST


def test_one_that_joins_late_never_turns_settings_back() -> None:
    agreement = of_two()
    agreement.left(1)
    agreement.starts(1)
    agreement.want(wish(2))
    assert agreement.confirmed(0, word(2))
    agreement.joined(1)
    assert agreement.in_force.generation == 2
    assert agreement.is_behind(1)
    assert not agreement.is_behind(0)
    assert not agreement.confirmed(1, word(2))
    assert not agreement.is_behind(1)


def test_the_first_settings_act_from_the_switch_on() -> None:
    agreement = Agreement(FIRST)
    agreement.begin(42.0)
    assert agreement.in_force == InForce(FIRST.settings, 1, 42.0)
