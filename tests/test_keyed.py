"""Chance by key: the formulas as they were when results were published, so that these repeat."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import tensorflow as tf

from attnrobust import keyed
from attnrobust.keyed import batches


def test_a_generator_is_philox_on_the_digest_of_its_parts():
    digest = hashlib.sha256(b"linf_pgd|7|image|0.03|1").digest()
    expected = np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
    found = keyed.generator("linf_pgd", 7, "image", 0.03, 1)
    np.testing.assert_array_equal(found.random(8), expected.random(8))


def test_a_generator_has_these_numbers_for_ever():
    found = keyed.generator("a", 0, "b", float("inf"), 2).integers(1000, size=6)
    np.testing.assert_array_equal(found, [841, 415, 343, 578, 571, 256])


def test_a_rank_does_not_depend_on_other_names():
    names = [f"group-{number}" for number in range(50)]
    order = sorted(names, key=lambda name: keyed.rank(3, name))
    assert order != names
    assert order != sorted(names, key=lambda name: keyed.rank(4, name))
    fewer = sorted(names[::2], key=lambda name: keyed.rank(3, name))
    assert fewer == [name for name in order if name in names[::2]]


def test_no_two_uses_share_a_key():
    """Of a million batches, mixtures and draws in an epoch."""
    most = 2**20
    ends = [
        (batches.AUGMENTATION, most),
        (batches.STARTS, batches.STARTS + most),
        *(
            (first, first + most)
            for mixture in range(3)
            for draw in range(6)
            for first in [batches.MIXTURES + mixture * batches.MIXTURE + draw * batches.DRAW]
        ),
        *(
            (first, first + most)
            for device in range(64)
            for first in [batches.DROPOUT + device * batches.DEVICE]
        ),
    ]
    ordered = sorted(ends)
    assert all(one[1] <= two[0] for one, two in itertools.pairwise(ordered))


def test_a_batchs_key_is_seed_and_epoch_and_place():
    key = batches.key(3, 5, tf.constant(9, tf.int64), batches.STARTS)
    assert key.dtype == tf.int64
    np.testing.assert_array_equal(key, [3 * 10_007 + 5, 9 + 2**40])
    np.testing.assert_array_equal(batches.later(key, 2**41), [30026, 9 + 2**40 + 2**41])
