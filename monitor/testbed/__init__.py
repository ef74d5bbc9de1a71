"""An embedded Sigstore on loopback: certificate authority and log, Rekor v1 and v2, TUF, a Slack.

It serves the demo, the tests and the benchmarks over real HTTP, and tells on request every lie that a log can tell.
Of ours it knows the arithmetic of `tlog` and nothing else: what is tested must not help to make its own test.
"""

from __future__ import annotations
