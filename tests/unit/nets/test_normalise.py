from __future__ import annotations

import numpy as np
import pytest

from live_spec.nets.normalise import LabelNormaliser, mark_missing


def test_missing_labels_do_not_count_and_stay_missing():
    labels = np.array([[1.0, 10.0], [3.0, -9999.0], [5.0, 20.0], [np.nan, 30.0]])
    normaliser = LabelNormaliser.fit(labels)
    np.testing.assert_allclose(normaliser.mean_L, [3.0, 20.0])
    np.testing.assert_allclose(normaliser.std_L, [np.sqrt(8 / 3), np.sqrt(200 / 3)])
    standard = normaliser.standardise(labels)
    np.testing.assert_array_equal(np.isnan(standard), np.isnan(mark_missing(labels)))
    np.testing.assert_allclose(normaliser.restore(standard), mark_missing(labels))
    assert labels[1, 1] == -9999.0


@pytest.mark.parametrize(
    ("column", "message"), [([-9999.0, -9999.0, 1.0], "fewer than two"), ([2.0, 2.0, 2.0], "same value")]
)
def test_a_label_that_cannot_be_standardised_is_refused(column, message):
    with pytest.raises(ValueError, match=message):
        LabelNormaliser.fit(np.stack([[1.0, 2.0, 3.0], column], 1))
