# SPDX-License-Identifier: GPL-2.0-or-later
"""A test that ends what it began.

Avocado has addCleanup() from unittest and never does what was added; this does, after the test,
whatever its result.  It is not done when avocado ends a test at its time limit.
"""

from avocado import Test


class TidyTest(Test):
    """An avocado test whose cleanups run."""

    def tearDown(self) -> None:
        """Run them, the last one first."""
        self.doCleanups()
