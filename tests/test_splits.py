"""Groups and copies: what stays together, what is refused, and in which proportion."""

from collections import Counter
from pathlib import Path

import pytest

from attnrobust.data import raw, splits
from attnrobust.data.raw import Row
from attnrobust.errors import UserError

THIRDS = {"train": 0.7, "validation": 0.1, "test": 0.2}


def rows(*groups: str, label: str = "nv") -> list[Row]:
    return [Row(f"i{n}", Path(f"{n}.jpg"), label, group, n + 2) for n, group in enumerate(groups)]


def test_rows_with_the_same_content_share_a_group() -> None:
    before = rows("g0", "g1", "g2", "g2", "g4")
    kept, rejects, copies = splits.merge_duplicates(before, ["x", "x", "y", "x", "z"])
    assert not rejects
    assert copies == 3
    groups = [row.group for row in kept]
    assert groups[0] == groups[1] == groups[2] == groups[3] != groups[4] == "g4"
    assert [(row.id, row.path, row.line) for row in kept] == [
        (row.id, row.path, row.line) for row in before
    ]


@pytest.mark.parametrize(
    ("groups", "hashes"),
    [
        ("abbccde", "1122334"),
        ("abcbcde", "1122334"),
        ("cdbcabe", "3322114"),
        ("abcdace", "1133224"),
    ],
)
def test_chains_of_shared_content_are_one_group(groups: str, hashes: str) -> None:
    kept, _, copies = splits.merge_duplicates(rows(*groups), list(hashes))
    assert copies == 6
    found = {before: row.group for before, row in zip(groups, kept, strict=True)}
    assert len({found[name] for name in "abcd"}) == 1
    assert found["e"] == "e"


def test_same_content_with_other_labels_is_rejected_with_its_lines() -> None:
    before = [*rows("a", "b", "c"), Row("i3", Path("3.jpg"), "mel", "d", 9)]
    kept, rejects, copies = splits.merge_duplicates(before, ["x", "y", "x", "x"])
    assert [row.id for row in kept] == ["i1"]
    assert copies == 3
    assert [(reject.line, reject.id) for reject in rejects] == [(2, "i0"), (4, "i2"), (9, "i3")]
    assert {reject.reason for reject in rejects} == {
        "same image with different labels in lines 2, 4, 9"
    }


def test_chains_of_equal_pixels_are_one_group_whatever_their_order() -> None:
    before = rows("a", "b", "b", "c", "d")
    marks = {"i0": "x", "i1": "x", "i2": "y", "i3": "y", "i4": "z"}
    assert [row.group for row in splits.join_copies(before, marks)] == ["a", "a", "a", "a", "d"]
    assert splits.join_copies(before, {}) == before
    files = {row.path: f"hash {row.id}" for row in before}
    assert splits.count_copies(before, files, marks) == 4
    # A copy byte by byte is none of those that only decoding tells.
    files[Path("1.jpg")] = files[Path("0.jpg")]
    assert splits.count_copies(before, files, marks) == 2


def test_equal_pixels_in_two_splits_of_the_data_set_are_one_line() -> None:
    before = [
        Row(f"i{n}", Path(f"{n}.png"), "nv", f"g{n}", n + 2, split=split)
        for n, split in enumerate(("train", "test"))
    ]
    with pytest.raises(UserError, match=r"i0 and i1 are the same image.*\(lines 2 and 3\)"):
        splits.join_copies(before, {"i0": "x", "i1": "x"})


def test_files_that_cannot_be_read_are_not_taken_for_copies(tmp_path: Path) -> None:
    assert raw.content_hash(tmp_path / "none") == raw.content_hash(tmp_path) == ""
    kept, rejects, copies = splits.merge_duplicates(rows("a", "b"), ["", ""])
    assert [row.group for row in kept] == ["a", "b"]
    assert (rejects, copies) == ([], 0)


def many(groups: int = 40) -> list[Row]:
    """Per label: groups of one to three rows."""
    return [
        Row(f"{label}{g}-{k}", Path("x"), label, f"{label}{g}", 2)
        for label in ("nv", "mel", "df")
        for g in range(groups)
        for k in range(1 + g % 3)
    ]


def test_a_split_is_stratified_to_the_group() -> None:
    found = splits.split_by_group(many(), fractions=THIRDS, seed=0)
    assert found.keys() == {row.group for row in many()}
    for label in ("nv", "mel", "df"):
        counts = Counter(split for group, split in found.items() if group.startswith(label))
        assert counts == {"train": 28, "validation": 4, "test": 8}


def test_a_split_depends_on_seed_and_groups_but_not_on_the_order_of_rows() -> None:
    first = splits.split_by_group(many(), fractions=THIRDS, seed=0)
    assert splits.split_by_group(many()[::-1], fractions=THIRDS, seed=0) == first
    other = splits.split_by_group(many(), fractions=THIRDS, seed=1)
    assert sum(first[group] != other[group] for group in first) > 20


def test_a_group_counts_for_the_label_most_of_its_rows_have() -> None:
    mixed = [
        Row(f"m{g}-{k}", Path("x"), "nv" if k else "df", f"m{g}", 2)
        for g in range(10)
        for k in range(3)
    ]
    found = splits.split_by_group(mixed, fractions=THIRDS, seed=0)
    assert Counter(found.values()) == {"train": 7, "validation": 1, "test": 2}


@pytest.mark.parametrize(
    "shares", [(0.7, 0.2, 0.2), (1.2, -0.1, -0.1), (0.5, 0.1, 0.1), (float("nan"), 0.5, 0.5)]
)
def test_shares_that_do_not_sum_to_1_are_refused(shares: tuple[float, float, float]) -> None:
    with pytest.raises(UserError, match="expected three shares that sum to 1"):
        splits.split_by_group(many(), fractions=dict(zip(raw.SPLITS, shares, strict=True)), seed=0)


def named(split: str, *groups: str, start: int = 0) -> list[Row]:
    """Rows that the data set itself puts into a split."""
    return [
        Row(f"{split}{n}", Path("x"), "nv", group, n + 2, split=split)
        for n, group in enumerate(groups, start)
    ]


def test_a_named_split_takes_its_groups_and_no_other() -> None:
    forced = named("test", "t0", "t0", "t1")
    found = splits.split_by_group([*many(), *forced], fractions=THIRDS, seed=0)
    assert {group for group, split in found.items() if split == "test"} == {"t0", "t1"}
    for label in ("nv", "mel", "df"):
        # Of 40 groups 0.1 / (0.7 + 0.1) = 1/8 is validation.
        counts = Counter(split for group, split in found.items() if group.startswith(label))
        assert counts == {"train": 35, "validation": 5}


def test_where_every_row_names_its_split_the_shares_do_not_count() -> None:
    every = [*named("train", "a"), *named("validation", "b"), *named("test", "c")]
    found = splits.split_by_group(every, fractions=THIRDS, seed=0)
    assert found == {"a": "train", "b": "validation", "c": "test"}


def test_nothing_is_added_to_a_named_train_split_by_rounding() -> None:
    free = [Row(f"f{n}", Path("x"), "df", f"f{n}", n) for n in range(5)]
    found = splits.split_by_group(
        [*named("train", "a"), *free],
        fractions={"train": 0.5, "validation": 0.25, "test": 0.25},
        seed=0,
    )
    assert Counter(found.values()) == {"train": 1, "validation": 3, "test": 2}


def test_a_group_in_two_named_splits_is_refused_by_name() -> None:
    clash = [*named("train", "a"), *named("test", "b", "a", start=7)]
    with pytest.raises(UserError, match="puts a into two splits, test and train; line 10"):
        splits.split_by_group(clash, fractions=THIRDS, seed=0)
    clash = [*rows("a"), *named("test", "a", start=7)]
    with pytest.raises(UserError, match="puts a into two splits, an open one and test; line 9"):
        splits.split_by_group(clash, fractions=THIRDS, seed=0)


def test_open_groups_must_have_a_split_left() -> None:
    with pytest.raises(UserError, match="itself fills test, and the other splits have share 0"):
        splits.split_by_group(
            [*rows("a"), *named("test", "b")],
            fractions=dict(THIRDS, train=0, validation=0, test=1),
            seed=0,
        )


def test_one_picture_in_two_named_splits_is_refused_by_both_ids() -> None:
    clash = [*rows("a"), *named("test", "b", "c", start=7)]
    with pytest.raises(UserError, match=r"i0 and test8 are the same image.*lines 2 and 10"):
        splits.merge_duplicates(clash, ["x", "y", "x"])
    kept, _, copies = splits.merge_duplicates(clash, ["x", "y", "y"])
    assert [(row.group, row.split) for row in kept] == [("a", ""), ("b", "test"), ("b", "test")]
    assert copies == 2
