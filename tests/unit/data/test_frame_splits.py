"""Splits of frames: lists first, then whole sequences, then chance; never a frame in two, always the same for a seed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.data.frame_splits import Assignment, split_frames
from mlops_assets.request.schema import Preprocessing

AUTO = Preprocessing()
FRAMES = [f"{number:06d}" for number in range(50)]
SEQUENCES = [f"{sequence:04d}/{frame:06d}" for sequence in range(10) for frame in range(5 + sequence)]


def sizes(assigned: Assignment) -> dict[str, int]:
    return {name: len(ids) for name, ids in assigned.splits.items()}


@settings(max_examples=30, deadline=None)
@given(
    ids=st.lists(st.integers(0, 400), unique=True, min_size=3, max_size=120),
    sequences=st.integers(0, 9),
    lists=st.dictionaries(st.sampled_from(["train", "val", "test"]), st.lists(st.integers(0, 400), max_size=60)),
    validation=st.floats(0.01, 0.49),
    test=st.floats(0.01, 0.49),
    seed=st.integers(0, 99),
)
def test_no_frame_is_in_two_splits_and_none_is_invented(
    ids: list[int], sequences: int, lists: dict[str, list[int]], validation: float, test: float, seed: int
) -> None:
    def name(number: int) -> str:
        return f"{number % sequences:04d}/{number:06d}" if sequences else f"{number:06d}"

    frames = [name(number) for number in ids]
    named = {key: list(dict.fromkeys(map(name, numbers))) for key, numbers in lists.items()}
    options = Preprocessing(validation_fraction=validation, test_fraction=test)
    assigned = split_frames(frames, named, options, seed)
    assert assigned == split_frames(frames[::-1], named, options, seed), "the order of frames is nothing"
    taken = [frame for split in assigned.splits.values() for frame in split]
    assert len(taken) == len(set(taken)) and set(taken) <= set(frames)
    if assigned.rule != "listed":
        assert len(taken) == len(frames) and all(assigned.splits.values()), "each split has something"
    if assigned.rule == "sequences":
        of = [{frame.partition("/")[0] for frame in members} for members in assigned.splits.values()]
        assert sum(map(len, of)) == len(set().union(*of)), "a sequence stays together"


def test_the_usual_train_and_val_become_train_and_test_with_validation_out_of_train() -> None:
    lists = {"train": FRAMES[:30], "val": FRAMES[30:48]}
    assigned = split_frames(FRAMES, lists, AUTO, 42)
    assert (assigned.rule, assigned.splits["test"], assigned.unlisted) == ("listed", FRAMES[30:48], 2)
    assert sizes(assigned) == {"train": 25, "validation": 5, "test": 18}, "a tenth of the 48 frames listed"
    assert set(assigned.splits["train"]) | set(assigned.splits["validation"]) == set(FRAMES[:30])


def test_three_lists_are_taken_as_they_are_and_the_held_out_one_wins() -> None:
    lists = {"train": FRAMES[:30], "val": FRAMES[25:35], "test": FRAMES[33:]}
    assigned = split_frames(FRAMES, lists, AUTO, 0)
    assert assigned.splits == {"train": FRAMES[:25], "validation": FRAMES[25:33], "test": FRAMES[33:]}


def test_one_list_alone_decides_nothing() -> None:
    assert split_frames(FRAMES, {"val": FRAMES[:9]}, AUTO, 0).rule == "random"
    assert split_frames(FRAMES, {"train": FRAMES}, AUTO, 0).rule == "random"


def test_whole_sequences_come_near_the_fractions_and_few_ones_are_cut_in_time() -> None:
    assigned = split_frames(SEQUENCES, {}, AUTO, 3)
    assert (
        assigned.rule == "sequences" and abs(sizes(assigned)["test"] - 19) <= 7 and abs(sizes(assigned)["validation"] - 10) <= 7
    )
    two = [frame for frame in SEQUENCES if frame < "0002"]
    cut = split_frames(two, {}, AUTO, 3)
    assert (cut.rule, cut.splits["test"]) == ("time", ["0000/000004", "0001/000005"]), "the last frames of each"
    assert "0000/000000" in cut.splits["train"] and all(cut.splits.values())


def test_a_request_for_a_random_split_is_granted_and_the_seed_decides_it() -> None:
    random = Preprocessing(split="random")
    lists = {"train": FRAMES[:30], "val": FRAMES[30:]}
    first, second = split_frames(FRAMES, lists, random, 1), split_frames(FRAMES, lists, random, 2)
    assert first.rule == second.rule == "random" and sizes(first) == {"train": 35, "validation": 5, "test": 10}
    assert first != second and first == split_frames(FRAMES, lists, random, 1)
