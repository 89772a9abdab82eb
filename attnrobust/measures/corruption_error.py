"""One number for many corruptions, relative to a baseline model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attnrobust.errors import UserError

Errors = Mapping[str, Sequence[float]]


def corruption_errors(
    errors: Errors, baseline: Errors, *, clean: tuple[float, float] | None = None
) -> dict[str, float]:
    """Error under each corruption, summed over severities, over the baseline's: CE; 1 is as good.

    Args:
        errors: Error rates in [0, 1] of each corruption, one for each severity.
        baseline: The same of the baseline model.
        clean: Clean error of the model and of the baseline; each is taken off first, which gives
            the relative CE: how much is lost, not what is left.

    Raises:
        UserError: The tables hold different corruptions or severities, or the baseline loses
            nothing under one.

    Source: Hendrycks and Dietterich 2019, section 4.
    """
    if not errors or set(errors) != set(baseline):
        raise UserError(
            f"corruption errors of {', '.join(errors) or 'nothing'} against a baseline of "
            f"{', '.join(baseline) or 'nothing'}: expected the same corruptions"
        )
    own, other = clean or (0.0, 0.0)
    found = {}
    for name, row in errors.items():
        if len(row) != len(baseline[name]):
            raise UserError(
                f"corruption {name}: {len(row)} severities against {len(baseline[name])} of the "
                "baseline, expected the same"
            )
        lost = sum(error - other for error in baseline[name])
        if lost <= 0:
            raise UserError(
                f"corruption {name}: the baseline loses nothing under it, expected an error above 0"
                + (" and above its clean one" if clean else "")
            )
        found[name] = sum(error - own for error in row) / lost
    return found


def mean_corruption_error(
    errors: Errors, baseline: Errors, *, clean: tuple[float, float] | None = None
) -> float:
    """Mean of `corruption_errors`: mCE, or relative mCE with the clean errors. Raises as it does.

    Source: Hendrycks and Dietterich 2019, section 4.
    """
    each = corruption_errors(errors, baseline, clean=clean)
    return sum(each.values()) / len(each)
