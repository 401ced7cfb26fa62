"""The Python on docs/library.md runs, and prints what stands there."""

import doctest
import os
import re
import unittest

from golden import ROOT


class Docs(unittest.TestCase):
    def test_library_page(self):
        os.chdir(ROOT)  # the page speaks of golden/...
        page = (ROOT / "docs/library.md").read_text()
        # Everything else becomes blank lines, so that messages name the page's own.
        parts = re.split(r"^```python\n(.*?)^```", page, flags=re.S | re.M)
        source = "".join(part if i % 2 else "\n" * (part.count("\n") + 1)
                         for i, part in enumerate(parts))
        test = doctest.DocTestParser().get_doctest(source, {}, "library.md", "docs/library.md", 0)
        self.assertGreater(len(test.examples), 30)
        runner = doctest.DocTestRunner()
        said = []
        runner.run(test, out=said.append)
        self.assertEqual(runner.failures, 0, "".join(said))


if __name__ == "__main__":
    unittest.main()
